// SPDX-License-Identifier: Apache-2.0

package release

import (
	"github.com/spillway/spillway/userspace/state"
)

// takeNotes writes down what was done to the control word while this agent held the state and did not answer: a person in
// an emergency does not wait for it. What was being built meanwhile is not published, and no candidate comes back. The swap
// lock is held.
func (mg *Manager) takeNotes() {
	notes, drop := mg.Disk.Notes()
	if len(notes) == 0 {
		return
	}
	mg.wentBack.Add(1)
	failed, bake := false, mg.Host().Guards.Bake
	for _, b := range notes {
		key := b.At.UnixNano()
		if mg.noted[key] {
			continue // it is in memory, and the disk refused it
		}
		if b.Way == state.BackCandidate || b.Way == state.BackEmpty {
			mg.Lease().Release()
		}
		failed = mg.Ledger.Update(func(r *state.Record) { r.GoBack(b, bake) }) != nil || failed
		if mg.noted == nil {
			mg.noted = map[int64]bool{}
		}
		mg.noted[key] = true
		mg.countRollback()
		b.Detail = append(b.Detail, "beside an agent that did not answer")
		mg.Ledger.EnsureKnown(b.To.Digest)
		mg.Ledger.Audit(b.Entry(mg.Ledger.NameOf(b.To.Digest)))
	}
	mg.TellMode()
	if !failed && !mg.Ledger.Unsaved() {
		drop()
	}
}

// lookBeside takes notes for whoever is about to build: this process may have been stopped since the last tick, and what
// was asked for before somebody went back must not follow it.
func (mg *Manager) lookBeside() {
	mg.swap.Lock()
	defer mg.swap.Unlock()
	mg.takeNotes()
}
