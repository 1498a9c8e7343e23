// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"fmt"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// Rollback goes back as the agent does: a candidate is ended and stable stays; otherwise previous becomes stable. ErrHeld
// when an agent holds the state; loader.ErrNoPrevious.
func (s *Session) Rollback(reason string) (*api.Change, error) {
	store, note, err := lock(s.places.State, s.now)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	_, by := caller()
	b := back{Session: s, names: s.names(), by: by, reason: reason, at: s.now().UTC()}
	before := s.d.Control()
	if before.Candidate != bpf.SlotEmpty {
		err = b.endCandidate(before)
	} else {
		err = b.toPrevious(before)
	}
	if err != nil {
		return nil, err
	}
	c := b.change
	forgotten := s.remember(store, b.edit)
	noted := record(store, state.Entry{Verb: "rollback", Reason: reason, Digest: c.Digest, Name: c.Name, Number: c.Number,
		Outcome: api.OutcomeDone, Detail: notes(b.left)})
	c.Details = notes(b.left, note, forgotten, noted)
	return c, nil
}

// back is one way back: the change, what was left, and the edit of the record that goes with it.
type back struct {
	*Session
	names      map[config.Digest]string
	by, reason string
	at         time.Time

	change *api.Change
	left   string
	edit   func(*state.Record)
}

// tell names the generation of a slot in the change.
func (b *back) tell(slot uint8, format string) {
	c := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone}
	if g, ok := b.generation(slot); ok {
		c.Number, c.Digest = g.Number, g.Digest
		c.Name = b.names[c.Digest]
	}
	c.Message = fmt.Sprintf(format, c.Number)
	b.change = c
}

func (b *back) quarantined(r *state.Record, d config.Digest) state.Quarantined {
	known, _ := r.Known(d)
	return state.Quarantined{Name: known.Name(), Digest: d, At: b.at, By: b.by, Reason: b.reason}
}

func (b *back) endCandidate(before loader.Control) error {
	lived := b.d.Lease().Active()
	after, err := b.d.Withdraw()
	if err != nil {
		return err
	}
	b.d.SetLease(0)
	b.tell(before.Candidate, "the candidate, generation %d, is ended; what was stable before is in force")
	switch {
	case after.Stable == bpf.SlotEmpty:
		b.left = "there was no bundle before, so everything but bans passes"
	case !lived:
		b.left = "its lease had ended, so stable decided already; to go back further: spillway rollback"
	}
	ended := b.change.Digest
	b.edit = func(r *state.Record) {
		r.Confirm = nil
		if !ended.IsZero() {
			r.AddQuarantine(b.quarantined(r, ended))
		}
	}
	return nil
}

func (b *back) toPrevious(before loader.Control) error {
	gone, _ := b.generation(before.Stable)
	after, err := b.d.Rollback()
	if err != nil {
		return err
	}
	b.tell(after.Stable, "generation %d decides again")
	if gone.Number != 0 {
		b.left = fmt.Sprintf("left generation %d (%s)", gone.Number, config.Digest(gone.Digest).Short())
	}
	to := state.Generation{Digest: b.change.Digest, Members: state.One(b.change.Name, b.change.Digest), Number: b.change.Number, At: b.at, By: b.by}
	b.edit = func(r *state.Record) {
		if known, ok := r.Known(to.Digest); ok {
			to.Members = known.Members
		}
		r.RollBack(to, b.quarantined(r, gone.Digest), b.places.bake())
	}
	return nil
}

// generation finds what a slot holds; a kernel that cannot say so does not keep anybody from going back.
func (s *Session) generation(slot uint8) (loader.GenerationInfo, bool) {
	all, err := s.d.Generations()
	if err != nil || slot == bpf.SlotEmpty {
		return loader.GenerationInfo{}, false
	}
	for _, g := range all {
		if g.Slot == slot {
			return g, true
		}
	}
	return loader.GenerationInfo{}, false
}
