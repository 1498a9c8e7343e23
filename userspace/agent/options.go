// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/sdnotify"
	"github.com/spillway/spillway/userspace/view"
)

// Options of Run. Host and HostPath are needed; the rest has a useful zero value.
type Options struct {
	// Host is the host file as it was loaded from HostPath. Reload reads that path again.
	Host     *config.Host
	HostPath string
	// HostText is the text that Host was read from; nil reads HostPath. It is another one than there when that file is
	// refused and Host is the last good one.
	HostText []byte
	// Version of the program, for status and metrics.
	Version string
	// Log receives what a person should know; nil discards it.
	Log *slog.Logger
	// Now is the wall clock.
	Now func() time.Time
	// Notify tells systemd; nil tells nobody.
	Notify *sdnotify.Notifier
	// Reload, when it receives, makes the agent read its host file again: SIGHUP.
	Reload <-chan struct{}
	// Renewed is how many processes before this one ended with ErrRenew, one after the other. It paces the next.
	Renewed int

	machineParts
}

// machineParts stand for the machine in tests.
type machineParts struct {
	open    func(loader.Options) (dataplane, error)
	owner   func(folder string) (plane.Ownership, error)
	root    func(folder string) (plane.Root, error)
	own     func() ([]netip.Addr, error)
	links   func(context.Context) <-chan struct{}
	network view.Network
	clock   func() compile.Clock
	fault   func(op, path string) error
	machine func() string // what the kernel calls this boot
	spawn   func(func())  // runs a job; nil: beside the ticks
	// gentle: a job has a thread of its own, whose priority it may lower.
	gentle bool
}

func (o *Options) setDefaults() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Notify == nil {
		o.Notify = &sdnotify.Notifier{}
	}
	if o.open == nil {
		o.open = openDataplane
	}
	if o.root == nil {
		o.root = plane.OpenRoot
	}
	if o.owner == nil {
		o.owner = func(pins string) (plane.Ownership, error) { return plane.OwnPins(pins, o.Host.Paths.State) }
	}
	if o.own == nil {
		o.own = ownAddresses
	}
	if o.links == nil {
		o.links = plane.LinkEvents
	}
	if o.spawn == nil {
		o.spawn, o.gentle = func(f func()) { go f() }, true
	}
	if o.machine == nil {
		o.machine = bootID
	}
	if o.clock == nil {
		o.clock = loader.Now
	}
	if o.network == nil {
		o.network = view.Netlink{}
	}
}

// file is the host file that the agent begins with.
func (o *Options) file() *hostfile.File {
	text := o.HostText
	if text == nil {
		if f, err := hostfile.Read(o.HostPath); err == nil {
			text = f.Text
		}
	}
	return &hostfile.File{Host: o.Host, Text: text, Digest: hostfile.Digest(text)}
}

// ownAddresses returns the addresses of this host: no bundle and no ban may block them.
func ownAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list own addresses: %w", err)
	}
	var out []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap().WithZone(""))
		}
	}
	return out, nil
}
