// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"github.com/spillway/spillway/userspace/api"
)

// triedMost is how long apply waits, where nobody looks, until a change was tried.
const triedMost = time.Minute

// tried waits until a change was tried that is at that, so that who asked learns of a refusal, and until it is in force
// where nothing else comes between: on a host that observes, and of what only lets more pass.
func (a *app) tried(c *api.Client, ro *api.Rollout) *api.Rollout {
	ctx := a.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, triedMost)
	defer cancel()
	moments := func(s *api.Staged) bool {
		return s != nil && (s.Stage == api.StageTaste || s.Stage == api.StageBake && s.SharePermille == 0)
	}
	for ro.State == api.RolloutRunning && moments(ro.Staged) {
		select {
		case <-ctx.Done():
			return ro
		case <-time.After(turnInterval):
		}
		if now, err := c.Rollout(ctx, ro.ID); err == nil {
			ro = now
		}
	}
	return ro
}
