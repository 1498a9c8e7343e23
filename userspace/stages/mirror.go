// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"fmt"
	"slices"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/state"
)

// The record owns what is last-known-good and what is in quarantine: the ways back without an agent write it, too. The
// engine gets both before each step, and what a step changed goes into the record.

// before gives the engine what the record says.
func (st *Stages) before(commands []rollout.Command) {
	s, r := &st.memory.State, st.Ledger.Record()
	s.Known = rollout.Known{}
	if k := r.LastKnownGood; k != nil {
		s.Known = rollout.Known{Number: k.Number, Digest: k.Digest}
	}
	if st.memory.Baked != 0 {
		s.Known.Number = st.memory.Baked
	}
	changes := st.memory.changes()
	for _, c := range commands {
		changes = append(changes, c.Change)
	}
	s.Quarantine = nil
	for _, q := range r.Quarantine {
		mine := rollout.Quarantined{Name: q.Name, Digest: q.Digest, Gate: gateOf(q), Why: whyOf(q)}
		if q.Name != "" {
			s.Quarantine = append(s.Quarantine, mine)
			continue
		}
		for _, c := range changes { // of a record that knew no names: it holds any
			if c.Digest == q.Digest {
				mine.Name = c.Name
				s.Quarantine = append(s.Quarantine, mine)
			}
		}
	}
}

// backs tells the engine, once, that somebody went back: also beside this agent, or while none ran.
func (st *Stages) backs() []rollout.Command {
	b := st.Ledger.Record().WentBack
	if b == nil || b.At.Equal(st.memory.Back) {
		return nil
	}
	st.memory.Back, st.disk.dirty = b.At, true
	if b.By == ledger.Itself().User {
		return nil // a start that left a set in which the starts before it ended
	}
	return []rollout.Command{{Verb: rollout.VerbBack, By: b.By, UID: b.UID, Reason: b.Reason}}
}

// gateOf is the gate that condemned a bundle; a person where no gate did.
func gateOf(q state.Quarantined) rollout.Gate {
	if q.Gate == "" {
		return rollout.GatePerson
	}
	return rollout.Gate(q.Gate)
}

func whyOf(q state.Quarantined) string {
	if q.Gate != "" && q.Reason != "" {
		return q.Reason // the gate's sentence
	}
	if q.Reason == "" {
		return fmt.Sprintf("it was rolled back by %s.", q.By)
	}
	return fmt.Sprintf("%s (%s)", q.Reason, q.By)
}

func sameBundle(a rollout.Quarantined) func(rollout.Quarantined) bool {
	return func(b rollout.Quarantined) bool { return a.Name == b.Name && a.Digest == b.Digest }
}

// after gives the record what a step condemned and lifted.
func (st *Stages) after(before, now []rollout.Quarantined) {
	var condemned, lifted []rollout.Quarantined
	for _, q := range now {
		if !slices.ContainsFunc(before, sameBundle(q)) {
			condemned = append(condemned, q)
		}
	}
	for _, q := range before {
		if !slices.ContainsFunc(now, sameBundle(q)) {
			lifted = append(lifted, q)
		}
	}
	if len(condemned)+len(lifted) == 0 {
		return
	}
	at := st.Ledger.Now().UTC()
	_ = st.Ledger.Update(func(r *state.Record) {
		for _, q := range lifted {
			r.Lift(q.Name, q.Digest)
		}
		for _, q := range condemned {
			r.Condemn(state.Quarantined{Name: q.Name, Digest: q.Digest, At: at, By: ledger.Itself().User, Reason: q.Why,
				Gate: string(q.Gate)})
		}
	})
}

// follow notes what is stable. What was built again from the same bundles, for another host file or from disk, has the
// place of the one before.
func (st *Stages) follow(k rollout.Kernel, all []loader.GenerationInfo) {
	if !k.Known {
		return
	}
	st.memory.Trying = []uint32{k.Candidate, k.Beside}
	now := place{Number: k.Stable}
	for _, g := range all {
		if g.Number == k.Stable {
			now.Digest = g.Digest
		}
	}
	was := st.memory.Stable
	if was.Number != now.Number && was.Number != 0 && now.Number != 0 && was.Digest == now.Digest {
		st.memory.State = st.memory.State.Renumbered(was.Number, now.Number)
		if st.memory.Baked == was.Number {
			st.memory.Baked = now.Number
		}
		st.disk.dirty = true
	}
	st.memory.Stable = now
}
