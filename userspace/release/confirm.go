// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"fmt"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// publishCandidate lets the bundle decide for everybody, under a lease that ends with the deadline or with the agent.
func (mg *Manager) publishCandidate(d Kernel, seen uint32, set *config.Set, slot uint8, change *api.Change, e *state.Entry, rollout string, confirm time.Duration) error {
	deadline := mg.Ledger.Now().Add(confirm).UTC()
	entry := generation(set, e.Number, e.At, e.User)
	// Written first: an agent that starts again in time goes on only with a candidate that it finds here.
	if err := mg.Ledger.Update(func(r *state.Record) {
		r.Confirm, r.Held = &state.Confirm{Generation: entry, Deadline: deadline, Rollout: rollout}, nil
	}); err != nil {
		_ = mg.Ledger.Update(func(r *state.Record) { r.Confirm = nil })
		return fmt.Errorf("nothing changed: %w", err)
	}
	mg.Lease().Hold(e.Number, mg.Host().Guards.Lease, loader.In(confirm))
	if _, err := d.Publish(loader.Change{Candidate: &slot, Canary: new(uint16(canaryAll)), Seen: &seen}); err != nil {
		mg.Lease().Release()
		_ = mg.Ledger.Update(func(r *state.Record) { r.Confirm = nil })
		return mg.publishError(err)
	}
	change.Outcome, change.Deadline = api.OutcomeCandidate, deadline
	change.Message = fmt.Sprintf("generation %d decides now, and goes back by itself in %s unless `spillway confirm` keeps it", change.Number, api.Short(confirm))
	return nil
}

// ConfirmRollout keeps a candidate.
func (mg *Manager) ConfirmRollout(ctx context.Context, by api.Caller, id, reason string) (*api.Change, error) {
	d, done, err := mg.Begin()
	if err != nil {
		return nil, err
	}
	defer done()
	change, err := mg.confirm(ctx, d, by, id, reason)
	if err == nil {
		mg.prune(d)
	}
	return change, err
}

func (mg *Manager) confirm(ctx context.Context, d Kernel, by api.Caller, id, reason string) (*api.Change, error) {
	mg.swap.Lock()
	defer mg.swap.Unlock()
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	_, ro, err := mg.findRollout(id)
	if err != nil {
		return nil, err
	}
	confirm := mg.Ledger.Record().Confirm
	if confirm == nil || !isOf(confirm, &ro) || d.Control().Candidate == bpf.SlotEmpty || !mg.Ledger.Now().Before(confirm.Deadline) {
		return nil, api.ErrNoCandidate
	}
	if mg.lapsed(d, confirm.Number) {
		mg.expireCandidate(d)
		return nil, &api.Error{Code: api.CodeNoCandidate, Message: fmt.Sprintf("generation %d no longer decides: the agent did not renew its lease in time, so it is held", confirm.Number), Fix: "try it again: spillway apply BUNDLE --confirm 5m"}
	}
	e := mg.Ledger.Entry(by, "confirm", reason)
	e.Digest, e.Name, e.Number, e.Outcome = confirm.Digest, confirm.Name(), confirm.Number, api.OutcomeDone
	if _, err := d.Promote(); err != nil {
		return nil, fmt.Errorf("confirm generation %d: %w", confirm.Number, err)
	}
	mg.Lease().Release()
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeApplied, Digest: confirm.Digest, Name: confirm.Name(), Number: confirm.Number,
		BakeUntil: mg.Ledger.Now().Add(mg.Host().Guards.Bake).UTC(), Message: view.InForce(mg.Judge(d), confirm.Number)}
	ledger.Note(change, mg.Ledger.Update(func(r *state.Record) {
		g := confirm.Generation
		g.At, g.By = e.At.UTC(), e.User
		r.Apply(g, change.BakeUntil)
		r.Confirm = nil
	}))
	mg.Ledger.Audit(e)
	return change, nil
}
