// SPDX-License-Identifier: Apache-2.0

package state

import (
	"maps"
	"slices"
	"time"
)

// keptPast bounds the generations that a person may go back to.
const keptPast = 20

// Apply writes down a new stable set: what was in force before is previous now. It is last-known-good already, or
// bakes until then.
func (r *Record) Apply(g Generation, bakeUntil time.Time) {
	if r.Applied != nil && r.Applied.Digest != g.Digest {
		left := *r.Applied
		r.Previous = &left
		r.remember(left)
	}
	r.Applied, r.BakeUntil = &g, bakeUntil
	r.LastNumber = max(r.LastNumber, g.Number)
	if r.LastKnownGood != nil && r.LastKnownGood.Digest == g.Digest {
		r.LastKnownGood.Number, r.BakeUntil = g.Number, time.Time{}
	}
	for _, m := range g.Members { // a person accepted them
		r.Lift(m.Name, m.Digest)
	}
	r.Held = nil
}

// remember keeps what was in force among the generations of the past, once.
func (r *Record) remember(g Generation) {
	r.Past = append(slices.DeleteFunc(slices.Clone(r.Past), func(p Generation) bool { return p.Digest == g.Digest }), g)
	if n := len(r.Past) - keptPast; n > 0 {
		r.Past = r.Past[n:]
	}
}

// RollBack writes down that stable went back to a generation, and who did it: the agent and the command line without
// one leave the same record, so that a reboot does the same. What was left waits in quarantine and never comes back by
// itself; last-known-good follows where it was the one that was left, and otherwise what was gone back to bakes: it may
// have been observed only.
func (r *Record) RollBack(to Generation, left Quarantined, bake time.Duration) {
	if r.Applied != nil && r.Applied.Digest != to.Digest {
		r.remember(*r.Applied)
	}
	r.Applied, r.Previous, r.Confirm = &to, nil, nil
	r.LastNumber = max(r.LastNumber, to.Number)
	r.BakeUntil = time.Time{}
	if r.LastKnownGood != nil && r.LastKnownGood.Digest == left.Digest {
		known := to
		r.LastKnownGood = &known
	}
	if r.LastKnownGood == nil || r.LastKnownGood.Digest != to.Digest {
		r.BakeUntil = left.At.Add(bake).UTC()
	}
	if left.Digest != to.Digest && !left.Digest.IsZero() {
		r.AddQuarantine(left)
	}
}

// LeaveAll writes down that no set is in force any more. Last-known-good stays what it is.
func (r *Record) LeaveAll() {
	if r.Applied != nil {
		r.remember(*r.Applied)
	}
	r.Applied, r.Previous, r.Confirm, r.BakeUntil = nil, nil, nil, time.Time{}
}

// Leave writes down that one bundle of the set before was rolled back. As with the whole set it must not come back with
// a reboot: where last-known-good has it, what is in force now takes that place.
func (r *Record) Leave(m Member, q Quarantined) {
	r.AddQuarantine(q)
	if k := r.LastKnownGood; k != nil && r.Applied != nil &&
		slices.ContainsFunc(k.Members, func(o Member) bool { return o.Name == m.Name && o.Digest == m.Digest }) {
		r.LastKnownGood = cloneGeneration(r.Applied)
	}
}

// Forsake is Leave where something else says what is proven: last-known-good that has the bundle is none any more, and
// what is in force now does not take its place before it has baked.
func (r *Record) Forsake(m Member, q Quarantined) {
	r.AddQuarantine(q)
	if k := r.LastKnownGood; k != nil &&
		slices.ContainsFunc(k.Members, func(o Member) bool { return o.Name == m.Name && o.Digest == m.Digest }) {
		r.LastKnownGood = nil
	}
}

// Hold lets a candidate that lapsed wait for a person.
func (r *Record) Hold(g Generation, at time.Time, reason string) {
	r.Confirm, r.Held = nil, &Held{Generation: g, Since: at.UTC(), Reason: reason}
}

// SetBypass writes down a bypass of a service, "" for everything; nil: there is none.
func (r *Record) SetBypass(service string, b *Bypass) {
	next := maps.Clone(r.Bypass)
	if next == nil {
		next = map[string]Bypass{}
	}
	delete(next, service)
	if b != nil {
		next[service] = *b
	}
	r.Bypass = next
}

// ShiftClock moves every deadline with the wall clock: what had a minute left has a minute left.
func (r *Record) ShiftClock(by time.Duration) {
	r.BakeUntil = shift(r.BakeUntil, by)
	if r.Confirm = clonePointer(r.Confirm); r.Confirm != nil {
		r.Confirm.Deadline = shift(r.Confirm.Deadline, by)
	}
	r.Bypass = maps.Clone(r.Bypass)
	for name, b := range r.Bypass {
		b.Until = shift(b.Until, by)
		r.Bypass[name] = b
	}
}

func shift(t time.Time, by time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Round(0).Add(by) // a reading of the monotonic clock did not move
}

// Absorb takes over what only the disk knows, when it can be read at last: r is of an agent that began without it, so
// what r says of the kernel is newer.
func (r *Record) Absorb(disk *Record) {
	r.LastNumber = max(r.LastNumber, disk.LastNumber)
	if r.LastKnownGood == nil {
		r.LastKnownGood = cloneGeneration(disk.LastKnownGood)
	}
	if r.Applied == nil || disk.Applied != nil && r.Applied.Digest == disk.Applied.Digest &&
		r.Applied.Number == disk.Applied.Number {
		r.Applied, r.Previous, r.BakeUntil = cloneGeneration(disk.Applied), cloneGeneration(disk.Previous), disk.BakeUntil
	}
	past := r.Past
	r.Past = slices.Clone(disk.Past)
	for _, g := range past {
		r.remember(g)
	}
	r.Bypass = maps.Clone(r.Bypass)
	for name, b := range disk.Bypass {
		if known, ok := r.Bypass[name]; !ok || known.By == FoundBy {
			if r.Bypass == nil {
				r.Bypass = map[string]Bypass{}
			}
			r.Bypass[name] = b
		}
	}
	if r.WentBack == nil {
		r.WentBack = clonePointer(disk.WentBack)
		if r.Observed == nil {
			r.Observed = cloneGeneration(disk.Observed)
		}
	}
	if r.Rest == "" {
		r.Rest = disk.Rest
	}
	for _, q := range disk.Quarantine {
		if !slices.ContainsFunc(r.Quarantine, func(known Quarantined) bool { return known.Holds(q.Name, q.Digest) }) {
			r.Quarantine = append([]Quarantined{q}, r.Quarantine...)
		}
	}
	for _, c := range disk.Compiled {
		if !slices.ContainsFunc(r.Compiled, func(known Compiled) bool { return known.Number == c.Number }) {
			r.Compiled = append(r.Compiled, c)
		}
	}
}

// WasUndeclared writes down that a generation was compiled as one that declares nothing.
func (r *Record) WasUndeclared(number uint32) {
	r.Compiled = slices.Clone(r.Compiled)
	for i := range r.Compiled {
		r.Compiled[i].Undeclared = r.Compiled[i].Undeclared || r.Compiled[i].Number == number
	}
}
