// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"fmt"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// confirm keeps a candidate. The change lock is held.
func (ca *candidates) confirm(ctx context.Context, d trial, by api.Caller, id, reason string) (*api.Change, error) {
	ca.swap.Lock()
	defer ca.swap.Unlock()
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	_, ro, err := ca.rollouts.find(id)
	if err != nil {
		return nil, err
	}
	confirm := ca.ledger.Record().Confirm
	if confirm == nil || !isOf(confirm, &ro) || d.Control().Candidate == bpf.SlotEmpty ||
		!ca.ledger.Now().Before(confirm.Deadline) {
		return nil, api.ErrNoCandidate
	}
	if ca.lapsed(d, confirm.Number) {
		ca.expire(d)
		return nil, &api.Error{Code: api.CodeNoCandidate,
			Message: fmt.Sprintf("generation %d no longer decides: the agent did not renew its lease in time, so it is held",
				confirm.Number), Fix: "try it again: spillway apply BUNDLE --confirm 5m"}
	}
	e := ca.ledger.Entry(by, "confirm", reason)
	e.Digest, e.Name, e.Number, e.Outcome = confirm.Digest, confirm.Name(), confirm.Number, api.OutcomeDone
	if _, err := d.Promote(); err != nil {
		return nil, fmt.Errorf("confirm generation %d: %w", confirm.Number, err)
	}
	ca.lease().Release()
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeApplied, Digest: confirm.Digest,
		Name: confirm.Name(), Number: confirm.Number,
		BakeUntil: ca.ledger.Now().Add(ca.host().Guards.Bake).UTC(), Message: view.InForce(ca.judge(d), confirm.Number)}
	ledger.Note(change, ca.ledger.Update(func(r *state.Record) {
		g := confirm.Generation
		g.At, g.By = e.At.UTC(), e.User
		r.Apply(g, change.BakeUntil)
		r.Confirm = nil
	}))
	ca.ledger.Audit(e)
	return change, nil
}
