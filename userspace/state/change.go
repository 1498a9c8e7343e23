// SPDX-License-Identifier: Apache-2.0

package state

import (
	"maps"
	"slices"
	"time"

	"github.com/spillway/spillway/config"
)

// keptQuarantine bounds the list; a day has no more rollbacks than that.
const keptQuarantine = 50

// RollBack writes down that stable went back to a generation, and who did it: the agent and the command line without
// one leave the same record, so that a reboot does the same. What was left waits in quarantine and never comes back by
// itself; last-known-good follows where it was the one that was left, and otherwise what was gone back to bakes.
func (r *Record) RollBack(to Generation, left Quarantined, bake time.Duration) {
	r.Applied, r.Confirm = &to, nil
	r.LastNumber = max(r.LastNumber, to.Number)
	r.BakeUntil = time.Time{}
	if r.LastKnownGood == nil || r.LastKnownGood.Digest == left.Digest {
		known := to
		r.LastKnownGood = &known
	}
	if r.LastKnownGood.Digest != to.Digest {
		r.BakeUntil = left.At.Add(bake).UTC()
	}
	if left.Digest != to.Digest && !left.Digest.IsZero() {
		r.AddQuarantine(left)
	}
}

// AddQuarantine puts a bundle into quarantine, or renews what is said about it.
func (r *Record) AddQuarantine(q Quarantined) {
	r.Lift(q.Digest)
	q.At = q.At.UTC()
	r.Quarantine = append(r.Quarantine, q)
	if n := len(r.Quarantine) - keptQuarantine; n > 0 {
		r.Quarantine = r.Quarantine[n:]
	}
}

// Hold lets a candidate that lapsed wait for a person.
func (r *Record) Hold(g Generation, at time.Time, reason string) {
	r.Confirm, r.Held = nil, &Held{Generation: g, Since: at.UTC(), Reason: reason}
}

// Lift ends the quarantine of a bundle.
func (r *Record) Lift(d config.Digest) {
	r.Quarantine = slices.DeleteFunc(slices.Clone(r.Quarantine), func(q Quarantined) bool { return q.Digest == d })
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
	shift := func(t time.Time) time.Time {
		if t.IsZero() {
			return t
		}
		return t.Round(0).Add(by) // a reading of the monotonic clock did not move
	}
	r.BakeUntil = shift(r.BakeUntil)
	if r.Confirm = clonePointer(r.Confirm); r.Confirm != nil {
		r.Confirm.Deadline = shift(r.Confirm.Deadline)
	}
	r.Bypass, r.Bans = maps.Clone(r.Bypass), slices.Clone(r.Bans)
	for name, b := range r.Bypass {
		b.Until = shift(b.Until)
		r.Bypass[name] = b
	}
	for i := range r.Bans {
		r.Bans[i].Expires = shift(r.Bans[i].Expires)
	}
}

// Absorb takes over what only the disk knows, when it can be read at last: r is of an agent that began without it, so
// what r says of the kernel is newer.
func (r *Record) Absorb(disk *Record) {
	r.LastNumber = max(r.LastNumber, disk.LastNumber)
	if r.LastKnownGood == nil {
		r.LastKnownGood = clonePointer(disk.LastKnownGood)
	}
	if r.Applied == nil || disk.Applied != nil && r.Applied.Digest == disk.Applied.Digest && r.Applied.Number == disk.Applied.Number {
		r.Applied, r.BakeUntil = clonePointer(disk.Applied), disk.BakeUntil
	}
	for _, q := range disk.Quarantine {
		if !slices.ContainsFunc(r.Quarantine, func(known Quarantined) bool { return known.Digest == q.Digest }) {
			r.Quarantine = append([]Quarantined{q}, r.Quarantine...)
		}
	}
	for _, c := range disk.Compiled {
		if !slices.ContainsFunc(r.Compiled, func(known Compiled) bool { return known.Number == c.Number }) {
			r.Compiled = append(r.Compiled, c)
		}
	}
}
