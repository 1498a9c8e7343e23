// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader/kernel"
)

// ErrNoConntrack: connection tracking cannot be asked, so only sockets vouch for connections.
var ErrNoConntrack = errors.New("connection tracking cannot be asked")

// unasked explains why the program could not be loaded.
func unasked(err error, isModule bool) error {
	switch {
	case !errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("%w: %w", ErrNoConntrack, kernel.Explain("load the program that asks it", err))
	case isModule && !kernel.Holds(unix.CAP_SYS_ADMIN):
		return errUnprepared
	}
	return errUntracked
}

var (
	errUnprepared = fmt.Errorf("%w: nf_conntrack is a module of this kernel, and what calls into one needs root",
		ErrNoConntrack)
	errUntracked = fmt.Errorf("%w: the kernel has no nf_conntrack now", ErrNoConntrack)
)

// FixOfConntrack says what to do about connection tracking that is not asked.
func FixOfConntrack(err error) string {
	const restart = "systemctl restart spillway   (it touches no traffic)"
	switch {
	case errors.Is(err, errUnprepared):
		return "sudo spillway prepare   (the unit does it before each start), then: " + restart
	case errors.Is(err, errUntracked):
		return "modprobe nf_conntrack   (and a file in /etc/modules-load.d, for the next boot), then: " + restart
	}
	return restart + "; its log says more"
}

// whyUnasked is the cause as far as another process than the agent can see it.
func whyUnasked() error {
	there := func(path string) bool { _, err := os.Stat(path); return err == nil }
	switch {
	case there("/sys/kernel/btf/" + conntrackModule):
		return errUnprepared
	case !there("/sys/module/" + conntrackModule):
		return errUntracked
	}
	return ErrNoConntrack
}
