// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"

	"github.com/spillway/spillway/userspace/api"
)

// What follows implements api.Backend by the rooms.

// Events implements api.Backend.
func (a *agent) Events(recent int, follow, all bool) (past []api.Event, next <-chan api.Event, stop func()) {
	return a.events.Follow(recent, follow, all)
}

// Bypass implements api.Backend.
func (a *agent) Bypass(ctx context.Context, by api.Caller, r api.BypassRequest) (*api.Change, error) {
	return a.bypass.Set(ctx, by, r)
}

// Ban implements api.Backend.
func (a *agent) Ban(ctx context.Context, by api.Caller, r api.BanRequest) (*api.Change, error) {
	return a.bans.Ban(ctx, by, r)
}

// Unban implements api.Backend.
func (a *agent) Unban(ctx context.Context, by api.Caller, prefix, reason string) (*api.Change, error) {
	return a.bans.Unban(ctx, by, prefix, reason)
}

// Bans implements api.Backend.
func (a *agent) Bans(ctx context.Context) (*api.BanList, error) { return a.bans.List(ctx) }

// Verify implements api.Backend.
func (a *agent) Verify(ctx context.Context) (*api.Verification, error) { return a.plane.Verify(ctx) }

// StartRollout implements api.Backend.
func (a *agent) StartRollout(ctx context.Context, by api.Caller, r api.RolloutRequest, files api.Files) (*api.Rollout, error) {
	return a.release.StartRollout(ctx, by, r, files)
}

// Rollouts implements api.Backend.
func (a *agent) Rollouts(ctx context.Context) (*api.RolloutList, error) {
	return a.release.Rollouts(ctx)
}

// ConfirmRollout implements api.Backend.
func (a *agent) ConfirmRollout(ctx context.Context, by api.Caller, id, reason string) (*api.Change, error) {
	return a.release.ConfirmRollout(ctx, by, id, reason)
}

// EndRollout implements api.Backend.
func (a *agent) EndRollout(ctx context.Context, by api.Caller, id, reason string) (*api.Change, error) {
	return a.release.EndRollout(ctx, by, id, reason)
}

// Rollback implements api.Backend.
func (a *agent) Rollback(ctx context.Context, by api.Caller, r api.RollbackRequest) (*api.Change, error) {
	return a.release.Rollback(ctx, by, r)
}

// Bundles implements api.Backend.
func (a *agent) Bundles(ctx context.Context) (*api.BundleList, error) { return a.release.Bundles(ctx) }

// Plan implements api.Backend.
func (a *agent) Plan(ctx context.Context, r api.PlanRequest, files api.Files) (*api.Plan, error) {
	return a.release.Plan(ctx, r, files)
}
