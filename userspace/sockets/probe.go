// SPDX-License-Identifier: Apache-2.0

package sockets

import (
	"errors"
	"fmt"
	"net"
)

// ErrNoTrial: no connection over the loopback can be made here, so nothing is known.
var ErrNoTrial = errors.New("no connection to try with")

// Probe closes a connection of its own, over the loopback, to learn whether this process may close others'. Errors:
// ErrNoTrial, ErrUnsupported, or what the kernel said.
func Probe() error {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoTrial, err)
	}
	defer func() { _ = l.Close() }()
	c, err := net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoTrial, err)
	}
	defer func() { _ = c.Close() }()
	s, err := Find(c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort())
	if err != nil {
		return err
	}
	return s.Close()
}
