// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/pins"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// UnknownService says that no service has the name.
type UnknownService struct {
	Name string
	Have []string
}

func (e *UnknownService) Error() string {
	if len(e.Have) == 0 {
		return fmt.Sprintf("there is no service %q: no host file is published", e.Name)
	}
	return fmt.Sprintf("there is no service %q; there are %s", e.Name, strings.Join(e.Have, ", "))
}

// Bypass lets everything or one service pass, or ends that. It works while an agent that hangs holds the state.
func (s *Session) Bypass(r api.BypassRequest) (*api.Change, error) {
	until := Deadline(r)
	root, rootErr := s.rootID()
	if r.Service == "" {
		s.setBypass(until)
	} else {
		id, err := s.service(r.Service)
		if err != nil {
			return nil, err
		}
		s.d.SetServiceBypass(id, until)
	}
	reading := s.Reading()
	unread := reading.Notes()
	if rootErr == nil && reading.Unread[view.PartRoot] != nil { // it was read a moment ago: the card is compared with that
		reading.Root = root
		delete(reading.Unread, view.PartRoot)
	}
	change := view.OfBypass(view.Judge(reading), r.Service, until)
	// The word is stored; only now the disk.
	book, err := lock(s.places.State, s.now)
	if err != nil {
		change.Details = append(unread, "the history has no line of this, and a reboot forgets it: "+err.Error())
		return change, nil
	}
	defer book.close()
	detail := []string{"service " + r.Service}
	if r.Service == "" {
		detail = nil
	}
	verb := "bypass off"
	if r.On {
		verb = "bypass on"
	}
	forgotten := book.remember(s.places.bake(), func(known *state.Record) { known.SetBypass(r.Service, s.bypassNote(r)) })
	noted := book.record(state.Entry{Verb: verb, Reason: r.Reason, Outcome: api.OutcomeDone, Detail: detail})
	change.Details = append(unread, notes(book.note, forgotten, noted)...)
	return change, nil
}

// rootID returns the id of the pinned root program, whose word is switched.
func (s *Session) rootID() (uint32, error) {
	if s.root == nil {
		return s.d.RootID()
	}
	return s.root.RootID()
}

// setBypass switches the root's word, whatever stands behind it. What this build knows of it also ends its sight.
func (s *Session) setBypass(until loader.Deadline) {
	if s.d != nil {
		s.d.SetBypass(until)
		return
	}
	s.root.SetBypass(until)
}

// bypassNote is what the record says of a bypass, for the agent that starts after a reboot; nil ends it.
func (s *Session) bypassNote(r api.BypassRequest) *state.Bypass {
	if !r.On {
		return nil
	}
	_, by := caller()
	b := &state.Bypass{Since: s.now().UTC(), By: by, Reason: r.Reason}
	if r.ForSeconds > 0 {
		b.Until = s.now().Add(time.Duration(r.ForSeconds * float64(time.Second))).UTC()
	}
	return b
}

func (s *Session) service(name string) (uint8, error) {
	if err := s.readable("the bypass of one service needs its maps"); err != nil {
		return 0, err
	}
	host, err := s.d.Host()
	if err != nil {
		return 0, err
	}
	if host == nil {
		return 0, &UnknownService{Name: name}
	}
	if found, ok := host.Service(name); ok {
		return found.ID, nil
	}
	e := &UnknownService{Name: name}
	for _, h := range host.Services {
		e.Have = append(e.Have, h.Name)
	}
	return 0, e
}

// Detach takes everything below the pins out of the kernel, whatever version or state it is in: traffic passes, and
// some NICs reset their rings. ErrHeld while an agent holds the state or the pins: it would attach again.
func Detach(p Places, reason string, now func() time.Time) (*api.Change, error) {
	book, err := lock(p.State, now)
	if err != nil {
		return nil, err
	}
	defer book.close()
	owner, err := pins.OwnExisting(p.Pins)
	switch {
	case errors.Is(err, pins.ErrOwned): // by an agent with another state folder
		return nil, fmt.Errorf("%w: %w", ErrHeld, err)
	case err == nil:
		defer owner.Close()
	}
	root, err := loader.PinnedRootID(p.Pins)
	if err != nil {
		return nil, fmt.Errorf("detach: nothing was changed: %w", err)
	}
	var interfaces []string
	if r, err := loader.OpenRoot(p.Pins); err == nil { // of whatever build
		if all, err := r.Attachments(); err == nil {
			interfaces = cut(all)
		}
		if err := r.Close(); err != nil {
			return nil, err
		}
	}
	slices.Sort(interfaces)
	if err := loader.DetachPins(p.Pins); err != nil {
		return nil, fmt.Errorf("detach: %w", err)
	}
	change := detached(p, interfaces, root)
	noted := book.record(state.Entry{Verb: "detach", Reason: reason, Outcome: change.Outcome,
		Detail: append(interfaces, change.Incomplete...)})
	change.Details = notes(book.note, noted)
	return change, nil
}

// cut names the interfaces that a detach takes something off: the link of a device that is gone holds none.
func cut(all []loader.Attachment) []string {
	var names []string
	for _, a := range all {
		if a.State == loader.StateAttached {
			names = append(names, a.Interface)
		}
	}
	return names
}

// detached says what netlink says now: what was pinned is gone, and packets may meet something all the same.
func detached(p Places, interfaces []string, root uint32) *api.Change {
	c := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone}
	from := ""
	if len(interfaces) > 0 {
		from = " from " + strings.Join(interfaces, ", ")
	}
	all, err := loader.Devices()
	if err != nil {
		c.Outcome = api.OutcomeFailed
		c.Message = "nothing is pinned below " + p.Pins + " any more; whether something is still attached is not known"
		c.Incomplete = []string{err.Error()}
		return c
	}
	wanted := interfaces
	if p.Host != nil {
		for _, i := range p.Host.Interfaces {
			wanted = append(wanted, i.Name)
		}
	}
	for _, d := range all {
		for _, program := range d.Programs {
			if program.ID == root && root != 0 {
				c.Incomplete = append(c.Incomplete,
					fmt.Sprintf("program %d, which was pinned here, is still attached to %s: something else holds its link",
						program.ID, d.Name))
			} else if slices.Contains(wanted, d.Name) {
				c.Incomplete = append(c.Incomplete,
					fmt.Sprintf("another program (id %d) is attached to %s, and was not pinned below %s", program.ID, d.Name, p.Pins))
			}
		}
	}
	if len(c.Incomplete) > 0 {
		c.Outcome = api.OutcomeFailed
		c.Message = "what was pinned below " + p.Pins + " is gone, and packets still meet a program"
		return c
	}
	c.Message = "detached" + from + "; nothing of Spillway is left below " + p.Pins +
		", and nothing is attached to its interfaces: everything passes there"
	return c
}

// Pinned reports whether something of Spillway, of any version, is below the pins.
func Pinned(p Places) (bool, error) {
	d, err := loader.Adopt(p.Pins)
	if err == nil {
		return true, d.Close()
	}
	if errors.Is(err, loader.ErrNotPinned) {
		return anyVersion(p.Pins), nil
	}
	if errors.Is(err, loader.ErrForeignABI) {
		return true, nil
	}
	return !errors.Is(err, loader.ErrPermission), err
}
