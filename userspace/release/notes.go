// SPDX-License-Identifier: Apache-2.0

package release

import "github.com/spillway/spillway/userspace/state"

// takeNotes writes down what was done to the control word while this agent held the state and did not answer: a person
// in an emergency does not wait for it. What was being built meanwhile is not published, and no candidate comes back.
// The swap lock is held.
func (ba *backs) takeNotes() {
	notes, drop := ba.notes.Notes()
	if len(notes) == 0 {
		return
	}
	ba.swap.wentBack.Add(1)
	failed, bake := false, ba.host().Guards.Bake
	for _, b := range notes {
		key := b.At.UnixNano()
		if ba.noted[key] {
			continue // it is in memory, and the disk refused it
		}
		if b.Way == state.BackCandidate || b.Way == state.BackEmpty {
			ba.lease().Release()
		}
		failed = ba.ledger.Update(func(r *state.Record) { r.GoBack(b, bake) }) != nil || failed
		if ba.noted == nil {
			ba.noted = map[int64]bool{}
		}
		ba.noted[key] = true
		ba.tally.rolledBack()
		b.Detail = append(b.Detail, "beside an agent that did not answer")
		ba.ledger.EnsureKnown(b.To.Digest)
		ba.ledger.Audit(b.Entry(ba.ledger.NameOf(b.To.Digest)))
	}
	ba.modes.tell()
	if !failed && !ba.ledger.Unsaved() {
		drop()
	}
}

// lookBeside takes notes for whoever is about to build: this process may have been stopped since the last tick, and
// what was asked for before somebody went back must not follow it.
func (ba *backs) lookBeside() {
	ba.swap.Lock()
	defer ba.swap.Unlock()
	ba.takeNotes()
}
