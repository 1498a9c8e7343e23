// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/stages"
)

// staged is what the room of stages needs of the others.
func (a *agent) staged() stages.Options {
	return stages.Options{Log: a.log, Ledger: a.ledger, Disk: a.store.Stages(),
		Hand:   func() stages.Hand { return a.release.Hand() },
		Taster: a.taster,
		Guards: a.guards,
		Health: func() rollout.Health { return a.health.Latest().Health },
		Clock:  func() time.Duration { return time.Duration(a.opts.clock().MonotonicNS) },
		Spawn:  func(f func()) { go f() }}
}

// runStages looks once a second, once what the kernel holds is taken over.
func (a *agent) runStages(ctx context.Context) {
	for !a.adopted.Load() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(tickInterval / 10):
		}
	}
	a.tasting.begin(ctx, a)
	a.leaveTrial()
	a.stages.Run(ctx)
}

// guards are the engine's guards of the host file in force, and whether it asks for stages.
func (a *agent) guards() (rollout.Guards, bool) {
	h := a.host.Host()
	return rollout.GuardsOf(h), h.Guards.Rollout == config.RolloutStaged
}
