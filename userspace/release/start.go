// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"slices"

	"github.com/spillway/spillway/userspace/api"
)

// start asks for a change of the set in force. What must wait is answered at once, and waits.
func (qu *queue) start(ctx context.Context, by api.Caller, r api.RolloutRequest,
	files api.Files) (*api.Rollout, error) {
	ro := qu.rollouts.begin(by, r, qu.swap.wentBack.Load())
	if files != nil || r.Stored != "" {
		ro.Kind = api.RolloutApply
	}
	w, err := qu.reader.wishOf(r, files, qu.reader.alone)
	if err == nil {
		ro.wish = w
		qu.rollouts.name(ro)
		err = api.Late(ctx)
	}
	if err == nil {
		if c := qu.isCandidate(w); c != nil {
			return qu.rollouts.finish(ro, c, nil)
		}
		err = qu.rollouts.enqueue(ro)
	}
	if err != nil {
		e := qu.ledger.Entry(by, ro.Kind, r.Reason)
		e.Name = w.name()
		qu.outcome(&e, nil, err)
		return qu.rollouts.finish(ro, nil, err)
	}
	if out, err, ran := qu.turn(ctx, ro); ran {
		return out, err
	}
	return qu.waits(ro)
}

// isCandidate says that what is asked for is the candidate already; nil when it is not.
func (qu *queue) isCandidate(w wish) *api.Change {
	r := qu.ledger.Record()
	if r.Confirm == nil || w.bundle == nil || r.Applied != nil && slices.ContainsFunc(r.Applied.Members, w.is) ||
		!slices.ContainsFunc(r.Confirm.Members, w.is) {
		return nil
	}
	return &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeUnchanged, Digest: w.bundle.Digest,
		Name: w.bundle.Name, Number: r.Confirm.Number,
		Deadline: r.Confirm.Deadline, Message: "this bundle is the candidate already and waits for `spillway confirm`",
		Warnings: w.bundle.Warnings}
}
