// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"fmt"
	"slices"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// A first attach resets the rings of most network cards, so whatever removes a link again and again (another tool, a
// driver, a second agent of an older version) must not make this agent reset a card all day. After FlapAttaches of one
// interface within FlapWindow the next one waits until the first of them is that old, or until a person says reload.
const (
	FlapAttaches = 3
	FlapWindow   = 10 * time.Minute
)

// CodeAttachHeld is the problem of an interface that waits.
const CodeAttachHeld = "attach_held"

// attachedOf finds what the record says of an interface.
func attachedOf(all []state.Attached, name string) int {
	return slices.IndexFunc(all, func(at state.Attached) bool { return at.Interface == name })
}

// recent returns the attaches of the last FlapWindow.
func (ln *Links) recent(times []time.Time) []time.Time {
	return slices.DeleteFunc(slices.Clone(times), func(t time.Time) bool {
		age := ln.Ledger.Now().Sub(t)
		return age < 0 || age >= FlapWindow // one of the future is of a wall clock that was set since
	})
}

// attachHeld returns until when an interface waits for its next attach, the zero time when it does not.
func (ln *Links) attachHeld(name string) time.Time {
	attached := ln.Ledger.Record().Attached
	i := attachedOf(attached, name)
	if i < 0 {
		return time.Time{}
	}
	if times := ln.recent(attached[i].Times); len(times) >= FlapAttaches {
		return times[len(times)-FlapAttaches].Add(FlapWindow)
	}
	return time.Time{}
}

func heldAttach(name string, until time.Time) *api.Problem {
	return &api.Problem{Code: CodeAttachHeld,
		Message: fmt.Sprintf(
			"%s lost its link %d times within %s, and each attach may reset the card: the next one waits until %s", name,
			FlapAttaches, api.Short(FlapWindow), until.UTC().Format(time.RFC3339)),
		Fix: "find who removes it (another agent, another XDP tool, a driver); `spillway reload` attaches at once"}
}

// noteAttached writes down a link as this state's. fresh says that it was made now.
func (ln *Links) noteAttached(got loader.Attachment, name string, fresh bool) {
	r := ln.Ledger.Record()
	next := state.Attached{Interface: name, Index: got.Index, Link: got.LinkID}
	if i := attachedOf(r.Attached, name); i >= 0 {
		next.Times = ln.recent(r.Attached[i].Times)
		if known := r.Attached[i]; !fresh && known.Index == next.Index && known.Link == next.Link {
			return
		}
	}
	if fresh {
		next.Times = append(next.Times, ln.Ledger.Now().UTC())
	}
	_ = ln.Ledger.Update(func(r *state.Record) {
		r.Attached = append(slices.DeleteFunc(r.Attached, func(at state.Attached) bool { return at.Interface == name }), next)
	})
}

// forgetAttached is noteAttached's end.
func (ln *Links) forgetAttached(name string) {
	if attachedOf(ln.Ledger.Record().Attached, name) < 0 {
		return
	}
	_ = ln.Ledger.Update(func(r *state.Record) {
		r.Attached = slices.DeleteFunc(r.Attached, func(at state.Attached) bool { return at.Interface == name })
	})
}

// EndHolds lets every interface attach at once: a person said so, or everything is new.
func (ln *Links) EndHolds() {
	if !slices.ContainsFunc(ln.Ledger.Record().Attached, func(at state.Attached) bool { return len(at.Times) > 0 }) {
		return
	}
	_ = ln.Ledger.Update(func(r *state.Record) {
		for i := range r.Attached {
			r.Attached[i].Times = nil
		}
	})
	ln.mu.Lock()
	defer ln.mu.Unlock()
	for _, p := range ln.all {
		p.retry.Reset()
	}
}

// made reports whether a pinned link is this state's.
func (ln *Links) made(at loader.Attachment) bool {
	return slices.ContainsFunc(ln.Ledger.Record().Attached, func(known state.Attached) bool {
		return known.Link == at.LinkID && (known.Index == at.Index || at.Index == 0) // a severed link has lost its device
	})
}
