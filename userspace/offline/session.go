// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/pins"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

// Kernel is what a session reads and changes: *loader.Dataplane, or what stands for it in a test.
type Kernel interface {
	view.Kernel
	view.Tables
	Unban(netip.Prefix) (bool, error)
	SetBypass(loader.Deadline)
	SetServiceBypass(id uint8, until loader.Deadline)
	SetLease(loader.Deadline)
	SetTripped(generation uint32)
	Publish(loader.Change) (loader.Control, error)
	Withdraw() (loader.Control, error)
	DropGenerations() (loader.Control, error)
	Close() error
}

// New is a session over what stands for a kernel and for netlink.
func New(p Places, k Kernel, n view.Network, now func() time.Time) *Session {
	return &Session{places: p, d: k, network: n, now: now}
}

// Session works on pinned maps without an agent.
type Session struct {
	places  Places
	d       Kernel // nil where another build's decides
	root    *loader.Root
	foreign *pins.ForeignError
	network view.Network
	now     func() time.Time
}

// Open adopts what is pinned. loader.ErrNotPinned when nothing is, loader.ErrForeignPins when the folder is neither
// root's nor the agent's: what lies there is not believed, and not written to.
func Open(p Places, now func() time.Time) (*Session, error) {
	if err := pins.CheckFolder(p.Pins, p.users()...); err != nil {
		return nil, err
	}
	d, err := loader.Adopt(p.Pins)
	if errors.Is(err, loader.ErrForeignABI) {
		s, err := foreign(p, err)
		if err == nil {
			s.now = now
		}
		return s, err
	}
	if err != nil {
		return nil, err
	}
	return &Session{places: p, d: d, root: d.Root, network: view.Netlink{}, now: now}, nil
}

// Close releases the handles; what is pinned works on.
func (s *Session) Close() error {
	if s.d == nil {
		return s.root.Close()
	}
	return s.d.Close()
}

// caller names who runs this process; sudo keeps the name of the person.
func caller() (uint32, string) {
	uid := os.Getuid()
	name := fmt.Sprint(uid)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	if by := os.Getenv("SUDO_USER"); uid == 0 && by != "" {
		name = fmt.Sprintf("%.64s by sudo", api.Visible(by)) // whoever calls it may set it
	}
	return uint32(uid), name
}

func notes(all ...string) []string {
	var out []string
	for _, n := range all {
		if n != "" {
			out = append(out, n)
		}
	}
	return out
}
