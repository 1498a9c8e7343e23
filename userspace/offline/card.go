// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

// Cards are what is attached to the interfaces of this network namespace. Pins may be hidden, moved or another's; what
// a packet meets is here.
type Cards struct {
	Devices []loader.Device // those with a program
	Roots   map[uint32]Root // by program id, those that could be opened
	Failed  map[uint32]error
}

// Root is a root program of Spillway that was opened by its id.
type Root interface {
	Bypass() loader.Deadline
	SetBypass(loader.Deadline)
	Heartbeat() time.Duration
	Close() error
}

// OpenCards looks at every interface. It fails only when netlink does; programs that cannot be opened are in Failed:
// *loader.NotOurs, or loader.ErrPermission without CAP_SYS_ADMIN.
func OpenCards() (*Cards, error) {
	all, err := loader.Devices()
	if err != nil {
		return nil, err
	}
	c := &Cards{Roots: map[uint32]Root{}, Failed: map[uint32]error{}}
	for _, d := range all {
		if len(d.Programs) == 0 {
			continue
		}
		c.Devices = append(c.Devices, d)
		for _, p := range d.Programs {
			if c.Roots[p.ID] != nil || c.Failed[p.ID] != nil {
				continue
			}
			if r, err := loader.OpenCard(p.ID); err == nil {
				c.Roots[p.ID] = r
			} else {
				c.Failed[p.ID] = err
			}
		}
	}
	return c, nil
}

// Close lets go of what was opened.
func (c *Cards) Close() {
	for _, r := range c.Roots {
		_ = r.Close()
	}
}

// Empty reports whether nothing is attached to any interface.
func (c *Cards) Empty() bool { return len(c.Devices) == 0 }

// On names the interfaces that a program is on.
func (c *Cards) On(id uint32) string {
	var names []string
	for _, d := range c.Devices {
		if _, ok := d.Has(id); ok {
			names = append(names, d.Name)
		}
	}
	return strings.Join(names, ", ")
}

// ids returns the programs in a steady order.
func (c *Cards) ids() []uint32 {
	var out []uint32
	for _, d := range c.Devices {
		for _, p := range d.Programs {
			if !slices.Contains(out, p.ID) {
				out = append(out, p.ID)
			}
		}
	}
	return out
}

// Unread says which programs could not be opened by whoever asks, so that nobody knows what they do. Those that were,
// and are not Spillway's, are Others.
func (c *Cards) Unread() (unread, others []string) {
	for _, id := range c.ids() {
		var other *loader.NotOurs
		switch err := c.Failed[id]; {
		case err == nil:
		case errors.As(err, &other):
			others = append(others, fmt.Sprintf("%v: it is on %s, and Spillway's switch does not reach it", other, c.On(id)))
		default:
			unread = append(unread,
				fmt.Sprintf("another program (id %d) is attached to %s, and it cannot be read from here: %v", id, c.On(id), err))
		}
	}
	return unread, others
}

// Switch turns the bypass of every root program that is on a card on or off, and returns on which interfaces it did.
// Those that are so already are left alone.
func (c *Cards) Switch(until loader.Deadline) (switched []string) {
	for _, id := range c.ids() {
		r := c.Roots[id]
		if r == nil || sameBypass(r.Bypass(), until) {
			continue
		}
		r.SetBypass(until)
		switched = append(switched, fmt.Sprintf("%s (program %d)", c.On(id), id))
	}
	return switched
}

// sameBypass reports whether a bypass is as it should be; one that ends by itself was stored a moment ago.
func sameBypass(is, should loader.Deadline) bool {
	const moment = 10 * time.Second
	switch {
	case !should.Active():
		return !is.Active()
	case is == loader.DeadlineForever || should == loader.DeadlineForever || !is.Active():
		return is == should
	}
	return (is.Left() - should.Left()).Abs() < moment
}

// Status tells what the cards say where nothing that decides is pinned.
func (c *Cards) Status(p Places) *api.Status {
	st := &api.Status{Envelope: api.NewEnvelope(), Source: api.SourceCards, Problems: []api.Problem{},
		Interfaces:  []api.Interface{},
		Generations: []api.Generation{}, Services: []api.Service{}, Packets: []api.Packets{}, Maps: []api.MapUse{}}
	var bypassed, unknown []string
	var longest loader.Deadline
	for _, d := range c.Devices {
		i := api.Interface{Name: d.Name, Index: d.Index, State: api.InterfaceForeign, Mode: d.Programs[0].Mode,
			ProgramID: d.Programs[0].ID}
		for _, program := range d.Programs {
			root := c.Roots[program.ID]
			switch {
			case root == nil:
				i.Problem, i.Fix = c.problem(program.ID, d.Name)
				unknown = append(unknown, i.Problem)
			case root.Bypass().Active():
				i.Problem, i.Fix = fmt.Sprintf("bypass is on for %s (program %d), which is not pinned below %s", d.Name, program.ID,
					p.Pins), "sudo spillway bypass off"
				bypassed, longest = append(bypassed, d.Name), root.Bypass()
			default:
				i.Problem = fmt.Sprintf(
					"a root program of Spillway (id %d) is attached to %s and not pinned below %s; its bypass is off, so it may block",
					program.ID, d.Name, p.Pins)
				i.Fix = "sudo spillway bypass on lets everything pass; else use the host file, or the network and mount namespace, that it was started with"
				unknown = append(unknown, i.Problem)
			}
			if root != nil && root.Heartbeat() >= 0 {
				age := root.Heartbeat().Seconds()
				st.HeartbeatAgeSeconds = &age
			}
		}
		st.Problems = append(st.Problems, api.Problem{Code: "foreign_program", Message: i.Problem, Fix: i.Fix})
		st.Interfaces = append(st.Interfaces, i)
	}
	if len(unknown) > 0 {
		st.State, st.Says = api.StateUnknown, "UNKNOWN: "+strings.Join(unknown, "; ")+"."
		return st
	}
	st.State, st.Says = api.StateBypassed, fmt.Sprintf("BYPASS IS ON: everything passes on %s%s.",
		strings.Join(bypassed, ", "), view.Until(longest))
	st.Bypass = view.Bypass(longest)
	return st
}

func (c *Cards) problem(id uint32, name string) (message, fix string) {
	var other *loader.NotOurs
	err := c.Failed[id]
	if errors.As(err, &other) {
		return fmt.Sprintf("%v: it is on %s", other, name), "take it off with the tool that put it there"
	}
	return fmt.Sprintf("another program (id %d) is attached to %s, and it cannot be read from here", id, name), view.AsRoot
}

// Ours reports whether a card has a root program of Spillway, or one of which nobody here knows whose it is.
func (c *Cards) Ours() bool {
	return slices.ContainsFunc(c.ids(), func(id uint32) bool { return !errors.As(c.Failed[id], new(*loader.NotOurs)) })
}

// Change switches the bypass on the cards alone: nothing that this build can use is pinned, or the pins are another's.
func (c *Cards) Change(r api.BypassRequest, p Places) *api.Change {
	switched := c.Switch(Deadline(r))
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone}
	on := make([]string, 0, len(c.Roots))
	for _, id := range c.ids() {
		if c.Roots[id] != nil {
			on = append(on, c.On(id))
		}
	}
	where := strings.Join(on, ", ")
	change.Message = "bypass is off on " + where + ": what stands behind it is asked again"
	if r.On {
		change.Message = "bypass is on: everything passes on " + where + view.Until(Deadline(r))
	}
	if len(switched) > 0 {
		change.Details = append(change.Details,
			"switched by the words of the program that is attached to "+strings.Join(switched, ", ")+
				"; it is not pinned below "+p.Pins+", so the history has no line of this")
	}
	return change
}

// Deadline is until when a request lets pass; 0 ends it.
func Deadline(r api.BypassRequest) loader.Deadline {
	switch {
	case !r.On:
		return 0
	case r.ForSeconds > 0:
		return loader.In(time.Duration(r.ForSeconds * float64(time.Second)))
	}
	return loader.DeadlineForever
}
