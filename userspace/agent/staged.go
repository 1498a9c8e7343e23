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
	return stages.Options{Log: a.log, Ledger: a.ledger, Disk: a.store,
		Hand:   func() stages.Hand { return a.release.Hand() },
		Taster: a.taster,
		Guards: func() (rollout.Guards, bool) { return guardsOf(a.host.Host().Guards) },
		Health: func() rollout.Health { return rollout.Health{} },
		Clock:  func() time.Duration { return time.Duration(a.opts.clock().MonotonicNS) },
		Spawn:  func(f func()) { go f() }}
}

// runStages looks once a second, once what the kernel holds is taken over.
func (a *agent) runStages(ctx context.Context) {
	ticker := time.NewTicker(tickInterval / 10)
	defer ticker.Stop()
	for !a.adopted.Load() {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
	a.tasting.begin(ctx, a)
	a.stages.Run(ctx)
}

// evidences are the engine's levels of what a host file asks for.
var evidences = map[config.Evidence]rollout.Level{config.EvidenceSmall: rollout.LevelSmall,
	config.EvidenceNormal: rollout.LevelNormal, config.EvidenceLarge: rollout.LevelLarge}

// guardsOf are the engine's guards of a host file, and whether it asks for stages.
func guardsOf(g config.Guards) (rollout.Guards, bool) {
	out := rollout.Defaults()
	out.Evidence, out.Shadow, out.Bake, out.Lease = evidences[g.Evidence], g.Shadow, g.Bake, g.Lease
	out.MaxNewBlocks, out.TimeOnlyBelow = g.MaxNewBlocks.Fraction(), float64(g.TimeOnlyBelow)
	out.MaxDelta = rollout.Delta{Rows: g.MaxDelta.Rows.Fraction(), Measured: g.MaxDelta.Connections.Fraction()}
	out.Steps = nil
	for _, s := range g.Canary {
		out.Steps = append(out.Steps, rollout.CanaryStep{Share: s.Thousandths(), For: s.For})
	}
	return out, g.Rollout == config.RolloutStaged
}
