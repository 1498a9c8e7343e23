// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"github.com/spillway/spillway/userspace/state"
)

// takeNotes writes down what was done to the control word while this agent held the state and did not answer: a person in
// an emergency does not wait for it. What was being built meanwhile is not published, and no candidate comes back. The swap
// lock is held.
func (a *agent) takeNotes() {
	notes, drop := a.ledger.Store().Notes()
	if len(notes) == 0 {
		return
	}
	a.wentBack.Add(1)
	failed, bake := false, a.hostFile().Guards.Bake
	for _, b := range notes {
		key := b.At.UnixNano()
		if a.noted[key] {
			continue // it is in memory, and the disk refused it
		}
		if b.Way == state.BackCandidate || b.Way == state.BackEmpty {
			a.plane.Beat().Release()
		}
		failed = a.ledger.Update(func(r *state.Record) { r.GoBack(b, bake) }) != nil || failed
		if a.noted == nil {
			a.noted = map[int64]bool{}
		}
		a.noted[key] = true
		a.countRollback()
		b.Detail = append(b.Detail, "beside an agent that did not answer")
		a.ledger.EnsureKnown(b.To.Digest)
		a.ledger.Audit(b.Entry(a.ledger.NameOf(b.To.Digest)))
	}
	a.tellMode()
	if !failed && !a.ledger.Unsaved() {
		drop()
	}
}

// lookBeside takes notes for whoever is about to build: this process may have been stopped since the last tick, and what
// was asked for before somebody went back must not follow it.
func (a *agent) lookBeside() {
	a.swap.Lock()
	defer a.swap.Unlock()
	a.takeNotes()
}
