// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"slices"

	"github.com/spillway/spillway/userspace/api"
)

// The metrics of rollouts. A host without stages (guards.rollout: direct) exports none of them.
var (
	rolloutStage = gauge("spillway_rollout_stage",
		"1 for the stage in which the rollout of a lane is; a lane without one has 0 for each.", "lane", "stage")
	rolloutShare = gauge("spillway_rollout_share_ratio",
		"Share of the source prefixes for which the rollout decides now, 0 to 1.", "lane")
	rolloutSince = gauge("spillway_rollout_stage_start_time_seconds",
		"When the stage of the rollout began, as a Unix time; absent without a rollout.", "lane")
	rolloutLeft = gauge("spillway_rollout_seconds_left",
		"Seconds until the rollout is done, at this traffic; absent where nobody can know.", "lane")
	rolloutVotes = gauge("spillway_rollout_votes",
		"Votes of the stage (one source prefix in 24 hours), by what the rollout would do to them.", "lane", "kind")
	rolloutLost = gauge("spillway_rollout_votes_lost",
		"Votes of the rollout for which the kernel had no room.", "lane")
	rolloutArms = gauge("spillway_rollout_arm_prefixes",
		"Source prefixes in the canary and outside of it since the step began, by whether they failed.", "arm", "state")
	rolloutHeld    = gauge("spillway_rollout_held", "Rollouts that are held: a person goes on, or aborts.")
	rolloutFrozen  = gauge("spillway_rollout_frozen", "1 while nothing rolls out by itself.")
	rolloutCondemn = gauge("spillway_rollout_quarantined", "Bundles in quarantine.")
	rolloutDecided = counter("spillway_rollout_decisions_total", "Decisions of rollouts by gate.", "gate")
	rolloutBack    = counter("spillway_rollout_taken_back_total", "Rollouts that a gate took back.")
)

var allOfRollouts = []metric{rolloutStage, rolloutShare, rolloutSince, rolloutLeft, rolloutVotes, rolloutLost,
	rolloutArms, rolloutHeld, rolloutFrozen, rolloutCondemn, rolloutDecided, rolloutBack}

// What labels can be. Each is exported from the start: a counter that appears with 1 has no increase.
var (
	lanes         = []string{"main", "fast"}
	runningStages = []string{api.StageTaste, api.StageShadow, api.StageCanary, api.StageBake}
	gates         = []string{"arms", "bake", "boot", "budget", "confirm", "delta", "emergency", "freeze", "health",
		"intent",
		"lease", "person", "protected", "quarantine", "queue", "ratio", "rebase", "taste", "time"}
)

// otherGate is a gate that this list does not know.
const otherGate = "other"

// rollouts emits what rolls out.
func (e emitter) rollouts(s *Snapshot) {
	st := s.Status.Stages
	if st == nil {
		return
	}
	running, held := map[string]*api.Rollout{}, 0
	for i := range st.Rollouts {
		ro := &st.Rollouts[i]
		switch {
		case ro.State == api.RolloutHeld:
			held++
		case ro.Staged != nil && !ro.Over() && ro.State != api.RolloutQueued:
			running[ro.Staged.Lane] = ro
		}
	}
	for _, lane := range lanes {
		e.lane(lane, running[lane])
	}
	e.emit(rolloutHeld, float64(held))
	e.emit(rolloutFrozen, truth(st.Frozen != nil))
	e.emit(rolloutCondemn, float64(len(st.Quarantine)))
	e.emit(rolloutBack, float64(s.TakenBack))
	other := uint64(0)
	for gate, n := range s.Decisions {
		if !slices.Contains(gates, gate) {
			other += n
		}
	}
	for _, gate := range gates {
		e.emit(rolloutDecided, float64(s.Decisions[gate]), gate)
	}
	e.emit(rolloutDecided, float64(other), otherGate)
}

// lane emits the rollout of one lane; nil: none runs there.
func (e emitter) lane(lane string, ro *api.Rollout) {
	st := &api.Staged{}
	if ro != nil {
		st = ro.Staged
	}
	for _, stage := range runningStages {
		e.emit(rolloutStage, truth(ro != nil && st.Stage == stage), lane, stage)
	}
	e.emit(rolloutShare, float64(st.SharePermille)/1000, lane)
	ev := st.Evidence
	if ev == nil {
		ev = &api.Evidence{}
	}
	e.votes(lane, ev)
	if ro != nil && !st.Since.IsZero() {
		e.emit(rolloutSince, float64(st.Since.UnixMilli())/1000, lane)
	}
	if x := st.Estimate; x != nil && x.TotalSecondsLeft != nil && !x.Never {
		e.emit(rolloutLeft, *x.TotalSecondsLeft, lane)
	}
	if lane != lanes[0] {
		return // one lane alone has a canary
	}
	arms := ev.Arms
	if arms == nil {
		arms = &api.Arms{}
	}
	for name, a := range map[string]api.Arm{"canary": arms.Canary, "control": arms.Control} {
		e.emit(rolloutArms, float64(a.Failing), name, "failing")
		e.emit(rolloutArms, float64(max(a.Sources-a.Failing, 0)), name, "well")
	}
}

// votes emits the votes of a stage. The kinds add up to all of them.
func (e emitter) votes(lane string, ev *api.Evidence) {
	other := ev.Votes - ev.Declared - ev.Undeclared - ev.NewPasses - ev.BothBlock
	for kind, n := range map[string]int64{"new_block_declared": ev.Declared, "new_block_undeclared": ev.Undeclared,
		"new_pass": ev.NewPasses, "both_block": ev.BothBlock, "both_pass": other} {
		e.emit(rolloutVotes, float64(max(n, 0)), lane, kind)
	}
	e.emit(rolloutLost, float64(ev.Lost), lane)
}
