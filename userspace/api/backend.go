// SPDX-License-Identifier: Apache-2.0

package api

import "context"

// Backend is what answers behind the sockets, each noun for itself: a room of the agent, or what stands for it in a
// test. Its errors should be an *Error; any other is told as internal. What changes something asks Late once it holds
// its locks, before the effect.
type Backend struct {
	Site    siteBackend
	Kernel  kernelBackend
	Release releaseBackend
	Bans    banBackend
	Bypass  bypassBackend
	Events  eventBackend
	Ledger  ledgerBackend
	// Stages is nil where nobody knows them: then this host is direct.
	Stages stagesBackend
}

// siteBackend tells how the site is served, and takes another host file.
type siteBackend interface {
	Status(context.Context) (*Status, error)
	Reload(ctx context.Context, by Caller, r ReloadRequest) (*Change, error)
}

// kernelBackend tells what the kernel holds.
type kernelBackend interface {
	Generations(context.Context) (*GenerationList, error)
	Rules(context.Context) (*RuleList, error)
	Verify(context.Context) (*Verification, error)
}

// releaseBackend brings bundles into force and back.
type releaseBackend interface {
	Bundles(context.Context) (*BundleList, error)
	Rollouts(context.Context) (*RolloutList, error)
	// Plan and StartRollout get a nil Files when the request removes a bundle.
	Plan(ctx context.Context, r PlanRequest, files Files) (*Plan, error)
	StartRollout(ctx context.Context, by Caller, r RolloutRequest, files Files) (*Rollout, error)
	ConfirmRollout(ctx context.Context, by Caller, id, reason string) (*Change, error)
	// EndRollout withdraws a rollout that is not over.
	EndRollout(ctx context.Context, by Caller, id, reason string) (*Change, error)
	Rollback(ctx context.Context, by Caller, r RollbackRequest) (*Change, error)
}

// banBackend bans single addresses and prefixes.
type banBackend interface {
	List(context.Context) (*BanList, error)
	Ban(ctx context.Context, by Caller, r BanRequest) (*Change, error)
	Unban(ctx context.Context, by Caller, prefix, reason string) (*Change, error)
}

// bypassBackend lets everything or one service pass.
type bypassBackend interface {
	Set(ctx context.Context, by Caller, r BypassRequest) (*Change, error)
}

// eventBackend tells decisions.
type eventBackend interface {
	// Follow returns the last events and, with follow, a channel of new ones; with all no pass is left out, within the
	// kernel's budget of events. stop ends it.
	Follow(recent int, follow, all bool) (past []Event, next <-chan Event, stop func())
}

// ledgerBackend remembers who did what.
type ledgerBackend interface {
	History(ctx context.Context, limit int) (*History, error)
	// Forbidden is told when a caller who may not change anything tried to.
	Forbidden(by Caller, verb string)
}
