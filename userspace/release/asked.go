// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// What people ask, each of the part that knows.

// StartRollout asks for a change of the set in force. What must wait is answered at once, and waits.
func (mg *Manager) StartRollout(ctx context.Context, by api.Caller, r api.RolloutRequest,
	files api.Files) (*api.Rollout, error) {
	return mg.queue.start(ctx, by, r, files)
}

// ConfirmRollout keeps a candidate.
func (mg *Manager) ConfirmRollout(ctx context.Context, by api.Caller, id, reason string) (*api.Change, error) {
	d, done, err := mg.change.begin()
	if err != nil {
		return nil, err
	}
	defer done()
	change, err := mg.candidates.confirm(ctx, d, by, id, reason)
	if err == nil {
		mg.archive.prune(d)
	}
	return change, err
}

// EndRollout ends a rollout. It waits for no apply that runs: what is being built is not published.
func (mg *Manager) EndRollout(ctx context.Context, by api.Caller, id, reason string) (*api.Change, error) {
	return mg.backs.endRollout(ctx, by, id, reason)
}

// Rollback goes back: one bundle to its version before, or all of them.
func (mg *Manager) Rollback(ctx context.Context, by api.Caller, r api.RollbackRequest) (*api.Change, error) {
	switch {
	case r.Bundle == "":
		return mg.backs.back(ctx, by, r)
	case r.To != "":
		return nil, &api.Error{Code: api.CodeInvalid,
			Message: "a rollback of one bundle goes to its version before, and nowhere else", Fix: "leave one of both out"}
	}
	return mg.queue.back(ctx, by, r.Bundle, r.Reason)
}

// Rollouts lists the changes, the newest first.
func (mg *Manager) Rollouts(context.Context) (*api.RolloutList, error) {
	return mg.rollouts.list(), nil
}

// Bundles lists the set in force.
func (mg *Manager) Bundles(context.Context) (*api.BundleList, error) {
	return mg.archive.bundles(), nil
}

// Plan says what a bundle would change. It needs no kernel: without one it compares with the bundle of the record.
func (mg *Manager) Plan(ctx context.Context, r api.PlanRequest, files api.Files) (*api.Plan, error) {
	return mg.reader.plan(ctx, r, files)
}

// InForce returns the stable generation: the kernel's, or the record's when the kernel part is not loaded.
func (mg *Manager) InForce() *state.Generation { return mg.archive.inForce() }
