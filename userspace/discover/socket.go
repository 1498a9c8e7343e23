// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// State of a socket, as include/net/tcp_states.h numbers them. Unconnected UDP sockets are in state close.
type State uint8

// The states that matter here.
const (
	StateEstablished State = 0x01
	StateClose       State = 0x07
	StateListen      State = 0x0a
)

// Socket is one row of /proc/net/tcp and its neighbours. IPv4-mapped addresses are IPv4.
type Socket struct {
	UDP           bool
	Local, Remote netip.AddrPort
	State         State
	Inode         uint64
	// V6 is set for sockets of the IPv6 tables; a wildcard there usually accepts IPv4 as well.
	V6 bool
}

// Sockets returns the TCP and UDP sockets of the network namespace that proc shows. A table that does not exist (a
// kernel without IPv6) is empty.
func Sockets(proc fs.FS) ([]Socket, error) {
	var all []Socket
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		f, err := proc.Open("net/" + table)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open socket table %s: %w", table, err)
		}
		rows, err := parseSockets(f, table)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("read socket table %s: %w", table, err)
		}
		all = append(all, rows...)
	}
	return all, nil
}

func parseSockets(r io.Reader, table string) ([]Socket, error) {
	var rows []Socket
	lines := bufio.NewScanner(r)
	lines.Scan() // the heading
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 10 {
			continue
		}
		s := Socket{UDP: strings.HasPrefix(table, "udp"), V6: strings.HasSuffix(table, "6")}
		var err error
		if s.Local, err = parseAddrPort(f[1]); err != nil {
			return nil, err
		}
		if s.Remote, err = parseAddrPort(f[2]); err != nil {
			return nil, err
		}
		state, err := strconv.ParseUint(f[3], 16, 8)
		if err != nil {
			return nil, fmt.Errorf("parse state: %w", err)
		}
		s.State = State(state)
		if s.Inode, err = strconv.ParseUint(f[9], 10, 64); err != nil {
			return nil, fmt.Errorf("parse inode: %w", err)
		}
		rows = append(rows, s)
	}
	return rows, lines.Err()
}

// parseAddrPort reads 0100007F:0050. The kernel prints an address as 32-bit words in the byte order of the machine,
// which is little endian wherever Spillway runs.
func parseAddrPort(s string) (netip.AddrPort, error) {
	a, p, ok := strings.Cut(s, ":")
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("parse address %q: no port", s)
	}
	port, err := strconv.ParseUint(p, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("parse address %q: %w", s, err)
	}
	raw, err := hex.DecodeString(a)
	if err != nil || (len(raw) != 4 && len(raw) != 16) {
		return netip.AddrPort{}, fmt.Errorf("parse address %q: want 8 or 32 hexadecimal digits", s)
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	addr, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), nil
}
