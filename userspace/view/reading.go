// SPDX-License-Identifier: Apache-2.0

package view

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
)

// Kernel is what can be read of a dataplane. *loader.Dataplane has it, whether an agent opened it or the command line
// adopted it.
type Kernel interface {
	Control() loader.Control
	Generations() ([]loader.GenerationInfo, error)
	Host() (*compile.HostInfo, error)
	Attachments() ([]loader.Attachment, error)
	RootID() (uint32, error)
	Bypass() loader.Deadline
	ServiceBypass(id uint8) loader.Deadline
	Heartbeat() time.Duration
	Lease() loader.Deadline
	Tripped() loader.Trips
	VerifyWiring() ([]compile.Drift, error)
	Conntrack() error
	Unanswered() (map[int]bool, error)
}

// Network is what netlink says.
type Network interface {
	DeviceByName(name string) (loader.Device, error)
	DeviceByIndex(index int) (loader.Device, error)
}

// Netlink is the Network of this network namespace.
type Netlink struct{}

// DeviceByName implements Network.
func (Netlink) DeviceByName(name string) (loader.Device, error) { return loader.DeviceByName(name) }

// DeviceByIndex implements Network.
func (Netlink) DeviceByIndex(index int) (loader.Device, error) { return loader.DeviceByIndex(index) }

// Presence is what is known of the agent by whoever reads.
type Presence int

// The presences of an agent.
const (
	Answers   Presence = iota // it is the one that reads
	Absent                    // nobody listens
	Elsewhere                 // nobody listens, and another process owns the pins
	Hung                      // somebody listens and does not answer
	Unasked                   // whoever reads may not ask
)

// Reading is what was read of the kernel at one moment.
type Reading struct {
	Control     loader.Control
	Bypass      loader.Deadline
	Heartbeat   time.Duration // negative: there never was one
	Lease       loader.Deadline
	Tripped     loader.Trips
	Generations []loader.GenerationInfo
	Host        *compile.HostInfo         // nil when none is published
	Services    map[uint8]loader.Deadline // the bypass of each
	Links       []loader.Attachment       // as they are pinned
	Root        uint32                    // id of the pinned root program
	Wiring      []compile.Drift           // but for interfaces
	Interfaces  []Interface               // those of the host file, in its order, and those with a link beside them
	Unread      map[Part]error            // what could not be read, and why
	Agent       Presence                  //
	AgentPID    int                       // of one that hangs or is elsewhere; 0 when it is not known
	Attach      map[string]api.Problem    // why the agent could not attach, by interface
	Counted     Counted                   // what was counted
	CountedWhen string                    // in which time, as a person says it
	Untracked   error                     // why connection tracking is not asked; nil when it is, or nobody knows
	Unanswered  map[int]bool              // interfaces, by number, that no answer of a program leaves
	Behind      string                    // "": what is read above decides; else what decides, and cannot be read
}

// Interface is what netlink says of one.
type Interface struct {
	Name   string
	Device loader.Device
	Err    error // loader.ErrNoDevice, or why netlink would not say
}

// Notes say what could not be read.
func (r Reading) Notes() []string {
	var out []string
	for _, p := range parts {
		if err := r.Unread[p]; err != nil {
			out = append(out, fmt.Sprintf("%s cannot be read: %v", p, err))
		}
	}
	return out
}

// Part is what may be unreadable for itself.
type Part string

// The parts of a reading.
const (
	PartGenerations Part = "the generations"
	PartHost        Part = "the host file in the kernel"
	PartLinks       Part = "the pinned links"
	PartRoot        Part = "the pinned root program"
	PartWiring      Part = "the wiring"
)

// parts in the order in which they are told.
var parts = []Part{PartRoot, PartLinks, PartWiring, PartHost, PartGenerations}

// Read looks at a kernel. wanted are the interfaces of the host file; nil when it is not known.
func Read(k Kernel, n Network, wanted []string) Reading {
	r := Reading{Control: k.Control(), Bypass: k.Bypass(), Heartbeat: k.Heartbeat(),
		Lease: k.Lease(), Tripped: k.Tripped(),
		Services: map[uint8]loader.Deadline{}, Unread: map[Part]error{}}
	keep := func(p Part, err error) {
		if err != nil {
			r.Unread[p] = err
		}
	}
	var err error
	r.Generations, err = k.Generations()
	keep(PartGenerations, err)
	r.Host, err = k.Host()
	keep(PartHost, err)
	if r.Host != nil {
		for _, s := range r.Host.Services {
			r.Services[s.ID] = k.ServiceBypass(s.ID)
		}
	}
	r.Untracked = Untracked(k.Conntrack())
	r.Unanswered, _ = k.Unanswered() // unread is unknown: nothing is said then
	r.Links, err = k.Attachments()
	keep(PartLinks, err)
	r.Root, err = k.RootID()
	keep(PartRoot, err)
	drifts, err := k.VerifyWiring()
	keep(PartWiring, err)
	for _, d := range drifts {
		if !d.OnInterface() {
			r.Wiring = append(r.Wiring, d)
		}
	}
	r.Interfaces = lookAt(n, wanted, r.Links)
	return r
}

// Root is what can be read of every build's dataplane: *loader.Root has it.
type Root interface {
	Bypass() loader.Deadline
	Heartbeat() time.Duration
	Attachments() ([]loader.Attachment, error)
	RootID() (uint32, error)
}

// Behind looks at a dataplane of which the root alone can be read; decides says whose it is.
func Behind(k Root, n Network, wanted []string, decides string) Reading {
	r := Reading{Bypass: k.Bypass(), Heartbeat: k.Heartbeat(), Unread: map[Part]error{}, Behind: decides}
	var err error
	if r.Links, err = k.Attachments(); err != nil {
		r.Unread[PartLinks] = err
	}
	if r.Root, err = k.RootID(); err != nil {
		r.Unread[PartRoot] = err
	}
	r.Interfaces = lookAt(n, wanted, r.Links)
	return r
}

// follow finds the device that was attached under a name and has another one now: packets meet the same program there.
func follow(n Network, name string, links []loader.Attachment) (loader.Device, bool) {
	for _, l := range links {
		if l.State != loader.StateAttached || !l.Here || !l.Names(name) {
			continue
		}
		if d, err := n.DeviceByIndex(l.Index); err == nil {
			if _, ok := d.Has(l.ProgramID); ok {
				return d, true
			}
		}
	}
	return loader.Device{}, false
}

// lookAt asks for each interface of the host file by its name, and for each device that a link holds by its number.
func lookAt(n Network, wanted []string, links []loader.Attachment) []Interface {
	var all []Interface
	for _, name := range wanted {
		d, err := n.DeviceByName(name)
		if errors.Is(err, loader.ErrNoDevice) {
			if renamed, ok := follow(n, name, links); ok {
				d, err = renamed, nil
			}
		}
		all = append(all, Interface{name, d, err})
	}
	for _, l := range links {
		known := func(i Interface) bool { return i.Err == nil && i.Device.Index == l.Index }
		if l.State != loader.StateAttached || slices.ContainsFunc(all, known) {
			continue
		}
		d, err := n.DeviceByIndex(l.Index)
		switch {
		case errors.Is(err, loader.ErrNoDevice): // of another network namespace: no interface of this one
		case err != nil:
			all = append(all, Interface{l.Interface, d, err})
		default:
			if _, ok := d.Has(l.ProgramID); ok { // else a namesake of the number, in another network namespace
				all = append(all, Interface{d.Name, d, nil})
			}
		}
	}
	return all
}
