// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"fmt"
	"slices"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
)

// passBy puts a set into force while a candidate waits for its confirmation. The candidate is built again on the new
// set and takes its own place, with its deadline: both in one store. A candidate that is about the bundle that is taken
// out, or that cannot be in force beside the new set, is ended, and its sender is told.
func (ap *applier) passBy(ctx context.Context, d Kernel, seen mark, s *standing, change *api.Change,
	e *state.Entry, ro *rollout) error {
	g, ok := candidateIn(d)
	if !ok {
		return &api.Error{Code: api.CodeConflict, Message: "the candidate ended meanwhile; nothing changed", Fix: "ask again"}
	}
	onto, why, err := ap.rebased(g, s, ro.wish)
	if err != nil {
		return err
	}
	stable, number, err := ap.builder.set(d, s.next, false)
	if err != nil {
		return BuildError(err)
	}
	e.Number, change.Number = number, number
	var candidate *built
	if onto != nil {
		if err := ap.disk.SaveSet(onto); err != nil {
			return fmt.Errorf("nothing changed: %w", err)
		}
		candidate = &built{digest: onto.Digest}
		if candidate.slot, candidate.number, err = ap.builder.set(d, onto, false, stable); err != nil {
			return BuildError(err)
		}
	}
	ap.swap.Lock()
	defer ap.swap.Unlock()
	if err := ap.swap.moved(d, seen); err != nil {
		return err
	}
	if err := api.Late(ctx); err != nil {
		return err
	}
	confirm := ap.ledger.Record().Confirm
	if candidate == nil || confirm == nil || ap.candidates.lapsed(d, confirm.Number) ||
		!ap.ledger.Now().Before(confirm.Deadline) {
		return ap.publishOverCandidate(d, g, s, stable, change, e, ro.leaves, why)
	}
	return ap.publishBoth(d, seen, confirm, onto, candidate, s, stable, change, e)
}

// rebased returns what the candidate becomes on the new set; nil and why when it cannot be.
func (ap *applier) rebased(g loader.GenerationInfo, s *standing, w wish) (onto *config.Set, why string, err error) {
	from, err := ap.disk.Set(g.Digest)
	if err != nil {
		return nil, "", fmt.Errorf("nothing changed: read the candidate: %w", err)
	}
	if slices.ContainsFunc(w.names(), func(name string) bool { return config.Touches(s.base, from, name) }) {
		return nil, fmt.Sprintf("it was about %s, which was changed meanwhile", w.name()), nil
	}
	onto = config.Rebase(s.base, from, s.next)
	if err := onto.Check(ap.host()); err != nil {
		return nil, "it cannot be in force beside what was changed meanwhile: " + err.Error(), nil
	}
	return onto, "", nil
}

// publishBoth swaps stable and candidate in one store. The swap lock is held.
func (ap *applier) publishBoth(d trial, seen mark, confirm *state.Confirm, onto *config.Set, candidate *built,
	s *standing, stable uint8, change *api.Change, e *state.Entry) error {
	next := *confirm
	next.Generation = generation(onto, candidate.number, confirm.At, confirm.By)
	both := loader.Change{Stable: &stable, Candidate: &candidate.slot, Seen: &seen.epoch}
	if err := ap.candidates.replace(d, confirm, &next, both); err != nil {
		return publishError(err)
	}
	ap.nowStable(d, s.next, seen.rollout.leaves, change, e)
	change.Details = append(change.Details,
		fmt.Sprintf("the candidate (%s) goes on as generation %d and waits for its confirmation", next.Name(), next.Number))
	return nil
}

// publishOverCandidate puts the set into force and ends the candidate. The swap lock is held.
func (ap *applier) publishOverCandidate(d trial, g loader.GenerationInfo, s *standing, stable uint8, change *api.Change,
	e *state.Entry, leaves *state.Member, why string) error {
	if why == "" {
		why = "its time was over"
	}
	ap.candidates.expire(d) // if it lapsed or is late, it is that which ends it
	if now, ok := candidateIn(d); ok && now.Number == g.Number {
		b := &state.Back{At: ap.ledger.Now(), UID: e.UID, By: e.User, Reason: why}
		if _, err := ap.candidates.end(d, g, b); err != nil {
			return err
		}
		_ = ap.ledger.Update(func(r *state.Record) { r.Confirm = nil }) // nobody went back from it: no quarantine
		line := ap.ledger.Entry(ledger.Itself(), "withdraw", why)
		line.Outcome, line.Digest, line.Number, line.Name = api.OutcomeRolledBack, g.Digest, g.Number,
			ap.ledger.NameOf(g.Digest)
		ap.ledger.Audit(line)
		change.Details = append(change.Details, fmt.Sprintf("the candidate, generation %d, is ended: %s", g.Number, why))
	}
	if _, err := d.Publish(loader.Change{Stable: &stable}); err != nil {
		return publishError(err)
	}
	ap.nowStable(d, s.next, leaves, change, e)
	return nil
}
