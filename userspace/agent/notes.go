// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"github.com/spillway/spillway/userspace/state"
)

// takeNotes writes down what was done to the control word while this agent held the state and did not answer: a person in
// an emergency does not wait for it. What was being built meanwhile is not published, and no candidate comes back. The swap
// lock is held.
func (a *agent) takeNotes() {
	notes, drop := a.store.Notes()
	if len(notes) == 0 {
		return
	}
	a.wentBack.Add(1)
	failed := false
	for _, b := range notes {
		key := b.At.UnixNano()
		if a.noted[key] {
			continue // it is in memory, and the disk refused it
		}
		if b.Way == state.BackCandidate || b.Way == state.BackEmpty {
			a.beat.release()
		}
		failed = a.update(func(r *state.Record) { r.GoBack(b, a.file.Host.Guards.Bake) }) != nil || failed
		if a.noted == nil {
			a.noted = map[int64]bool{}
		}
		a.noted[key] = true
		a.countRollback()
		b.Detail = append(b.Detail, "beside an agent that did not answer")
		a.ensureKnown(b.To.Digest)
		a.audit(b.Entry(a.nameOf(b.To.Digest)))
	}
	a.tellMode()
	a.mu.Lock()
	unsaved := a.unsaved
	a.mu.Unlock()
	if !failed && !unsaved {
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
