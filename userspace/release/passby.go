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

// passBy puts a set into force while a candidate waits for its confirmation. The candidate is built again on the new set and
// takes its own place, with its deadline: both in one store. A candidate that is about the bundle that is taken out, or that
// cannot be in force beside the new set, is ended, and its sender is told.
func (mg *Manager) passBy(ctx context.Context, d Kernel, seen mark, s *standing, change *api.Change, e *state.Entry, ro *rollout) error {
	g, ok := mg.candidate(d)
	if !ok {
		return &api.Error{Code: api.CodeConflict, Message: "the candidate ended meanwhile; nothing changed", Fix: "ask again"}
	}
	onto, why, err := mg.rebased(g, s, ro.wish)
	if err != nil {
		return err
	}
	stable, number, err := mg.buildSet(d, s.next)
	if err != nil {
		return mg.BuildError(err)
	}
	e.Number, change.Number = number, number
	var candidate *built
	if onto != nil {
		if err := mg.Disk.SaveSet(onto); err != nil {
			return fmt.Errorf("nothing changed: %w", err)
		}
		candidate = &built{digest: onto.Digest}
		if candidate.slot, candidate.number, err = mg.buildSet(d, onto, stable); err != nil {
			return mg.BuildError(err)
		}
	}
	mg.swap.Lock()
	defer mg.swap.Unlock()
	if err := mg.moved(d, seen); err != nil {
		return err
	}
	if err := api.Late(ctx); err != nil {
		return err
	}
	confirm := mg.Ledger.Record().Confirm
	if candidate == nil || confirm == nil || mg.lapsed(d, confirm.Number) || !mg.Ledger.Now().Before(confirm.Deadline) {
		return mg.publishOverCandidate(d, g, s, stable, change, e, ro.leaves, why)
	}
	return mg.publishBoth(d, seen, confirm, onto, candidate, s, stable, change, e)
}

// rebased returns what the candidate becomes on the new set; nil and why when it cannot be.
func (mg *Manager) rebased(g loader.GenerationInfo, s *standing, w wish) (onto *config.Set, why string, err error) {
	from, err := mg.Disk.Set(g.Digest)
	if err != nil {
		return nil, "", fmt.Errorf("nothing changed: read the candidate: %w", err)
	}
	if slices.ContainsFunc(w.names(), func(name string) bool { return config.Touches(s.base, from, name) }) {
		return nil, fmt.Sprintf("it was about %s, which was changed meanwhile", w.name()), nil
	}
	onto = config.Rebase(s.base, from, s.next)
	if err := onto.Check(mg.Host()); err != nil {
		return nil, "it cannot be in force beside what was changed meanwhile: " + err.Error(), nil
	}
	return onto, "", nil
}

// publishBoth swaps stable and candidate in one store. The swap lock is held.
func (mg *Manager) publishBoth(d Kernel, seen mark, confirm *state.Confirm, onto *config.Set, candidate *built, s *standing, stable uint8, change *api.Change, e *state.Entry) error {
	before := *confirm
	next := before
	next.Generation = generation(onto, candidate.number, before.At, before.By)
	// Written first, as publishCandidate does.
	if err := mg.Ledger.Update(func(r *state.Record) { r.Confirm = &next }); err != nil {
		_ = mg.Ledger.Update(func(r *state.Record) { r.Confirm = &before })
		return fmt.Errorf("nothing changed: %w", err)
	}
	left := before.Deadline.Sub(mg.Ledger.Now())
	mg.Lease().Hold(candidate.number, mg.Host().Guards.Lease, loader.In(left))
	if _, err := d.Publish(loader.Change{Stable: &stable, Candidate: &candidate.slot, Seen: &seen.epoch}); err != nil {
		mg.Lease().Hold(before.Number, mg.Host().Guards.Lease, loader.In(left))
		_ = mg.Ledger.Update(func(r *state.Record) { r.Confirm = &before })
		return mg.publishError(err)
	}
	mg.rollouts.renumber(&before, &next)
	mg.nowStable(d, s.next, seen.rollout.leaves, change, e)
	change.Details = append(change.Details, fmt.Sprintf("the candidate (%s) goes on as generation %d and waits for its confirmation", next.Name(), next.Number))
	return nil
}

// publishOverCandidate puts the set into force and ends the candidate. The swap lock is held.
func (mg *Manager) publishOverCandidate(d Kernel, g loader.GenerationInfo, s *standing, stable uint8, change *api.Change, e *state.Entry, leaves *state.Member, why string) error {
	if why == "" {
		why = "its time was over"
	}
	mg.expireCandidate(d) // if it lapsed or is late, it is that which ends it
	if now, ok := mg.candidate(d); ok && now.Number == g.Number {
		b := &state.Back{At: mg.Ledger.Now(), UID: e.UID, By: e.User, Reason: why}
		if _, err := mg.endCandidate(d, g, b); err != nil {
			return err
		}
		_ = mg.Ledger.Update(func(r *state.Record) { r.Confirm = nil }) // nobody went back from it: no quarantine
		line := mg.Ledger.Entry(ledger.Itself(), "withdraw", why)
		line.Outcome, line.Digest, line.Number, line.Name = api.OutcomeRolledBack, g.Digest, g.Number, mg.Ledger.NameOf(g.Digest)
		mg.Ledger.Audit(line)
		change.Details = append(change.Details, fmt.Sprintf("the candidate, generation %d, is ended: %s", g.Number, why))
	}
	if _, err := d.Publish(loader.Change{Stable: &stable}); err != nil {
		return mg.publishError(err)
	}
	mg.nowStable(d, s.next, leaves, change, e)
	return nil
}
