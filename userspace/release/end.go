// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"fmt"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
)

// endRollout ends a rollout. It waits for no apply that runs: what is being built is not published.
func (ba *backs) endRollout(ctx context.Context, by api.Caller, id, reason string) (*api.Change, error) {
	d, done, err := ba.use()
	if err != nil {
		return nil, err
	}
	defer done()
	ba.swap.Lock()
	defer ba.swap.Unlock()
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	ro, now, err := ba.rollouts.find(id)
	if err != nil {
		return nil, err
	}
	e := ba.ledger.Entry(by, "withdraw", reason)
	change, err := ba.endNow(d, ro, now, &e)
	if err != nil {
		return nil, err
	}
	e.Outcome = api.OutcomeDone
	ba.ledger.Audit(e)
	return change, nil
}

// endNow ends a rollout. The swap lock is held, so nothing is published meanwhile.
func (ba *backs) endNow(d trial, ro *rollout, now api.Rollout, e *state.Entry) (*api.Change, error) {
	if now.Over() {
		return nil, &api.Error{Code: api.CodeConflict, Message: fmt.Sprintf("rollout %s is over: %s", now.ID, now.State),
			Fix: "to go back: spillway rollback"}
	}
	if now.State != api.RolloutWaiting {
		ba.rollouts.cancel(ro, e.User)
		ba.rollouts.save()
		e.Name, e.Detail = now.Name, []string{"rollout " + now.ID}
		return &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Name: now.Name,
			Message: fmt.Sprintf("rollout %s is cancelled: nothing of it comes into force", now.ID)}, nil
	}
	g, ok := candidateIn(d)
	if !ok || g.Number != now.Number {
		return nil, &api.Error{Code: api.CodeConflict,
			Message: fmt.Sprintf("generation %d is no candidate any more", now.Number), Fix: "look at `spillway status`"}
	}
	b := &state.Back{At: e.At, UID: e.UID, By: e.User, Reason: e.Reason}
	change, err := ba.candidates.end(d, g, b)
	if err == nil {
		bake := ba.host().Guards.Bake
		e.Digest, e.Number, e.Name = change.Digest, change.Number, change.Name
		ledger.Note(change, ba.ledger.Update(func(r *state.Record) {
			was, observed := r.WentBack, r.Observed
			r.GoBack(*b, bake)
			r.WentBack, r.Observed = was, observed // one rollout is ended, and nobody went back from the others
		}))
		ba.swap.wentBack.Add(1)
		ba.tally.rolledBack()
	}
	return change, err
}
