// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/rollout"
)

// told is what people are told, as of the last look: who asks waits for no look.
type told struct {
	mu   sync.Mutex
	live []api.Rollout // newest last
	over []api.Rollout
	rest api.Stages

	decided   map[string]uint64 // by gate, since the start
	takenBack uint64
}

// Counts are the decisions by gate, and how many rollouts were taken back, since the start.
func (st *Stages) Counts() (decided map[string]uint64, takenBack uint64) {
	st.told.mu.Lock()
	defer st.told.mu.Unlock()
	return maps.Clone(st.told.decided), st.told.takenBack
}

// count counts a decision.
func (t *told) count(d rollout.Decision) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.decided == nil {
		t.decided = map[string]uint64{}
	}
	t.decided[string(d.Gate)]++
	if d.To == rollout.StageTakenBack && d.From != d.To {
		t.takenBack++
	}
}

// remember takes up what had ended before a restart.
func (t *told) remember(over []story, describe func(story, rollout.Kernel, rollout.Evidence) api.Rollout) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range over {
		t.over = append(t.over, describe(s, rollout.Kernel{}, rollout.Evidence{}))
	}
}

// show makes it anew after a look.
func (st *Stages) show(k rollout.Kernel, e rollout.Evidence) {
	m := &st.memory
	var live, over []api.Rollout
	kept := slices.Clone(m.Stories)[:0]
	for _, s := range m.Stories {
		ro := st.describe(s, k, e)
		if ro.Over() && ro.State != api.RolloutHeld && !m.joined(s.Order.ID) {
			over = append(over, ro)
			m.Over = append(m.Over, s)
			st.disk.dirty = true
			continue
		}
		kept, live = append(kept, s), append(live, ro)
	}
	m.Stories = kept
	m.Over = slices.Clone(m.Over[max(0, len(m.Over)-mostOver):])
	rest := api.Stages{}
	rest.Frozen = m.frozen()
	for _, q := range st.Ledger.Record().Quarantine {
		rest.Quarantine = append(rest.Quarantine,
			api.Quarantined{Name: q.Name, Digest: q.Digest, Gate: string(gateOf(q)), Why: q.Reason, Since: q.At})
	}
	st.told.mu.Lock()
	defer st.told.mu.Unlock()
	st.told.live, st.told.rest = live, rest
	st.told.over = append(st.told.over, over...)
	if n := len(st.told.over) - release.KeptRollouts; n > 0 {
		st.told.over = st.told.over[n:]
	}
}

// joined reports whether a rollout is done and bakes with another: when that is taken back it begins again, and whoever
// carries it out needs its order.
func (m *memory) joined(id string) bool {
	return slices.ContainsFunc(m.State.Joined, func(c rollout.Change) bool { return c.ID == id })
}

// lanes are the names of main and fast.
var lanes = [...]string{"main", "fast"}

// describe says where a rollout is.
func (st *Stages) describe(s story, k rollout.Kernel, e rollout.Evidence) api.Rollout {
	m, o := &st.memory, s.Order
	ro := api.Rollout{Change: api.Change{Envelope: api.NewEnvelope(), Name: o.Name, Digest: o.Digest, Number: s.Number},
		ID: o.ID, Kind: o.Kind, Key: o.Key, By: o.By, Reason: o.Reason, Accept: o.Accept, Created: o.At}
	ro.Staged = &api.Staged{Stage: api.StageQueued, Track: s.Track, Since: s.Since, Decisions: s.Decisions}
	ro.State, ro.Outcome = api.RolloutQueued, api.OutcomeQueued
	ro.Message = "rollout " + o.ID + " waits for its turn"
	if last := len(s.Decisions) - 1; last >= 0 {
		ro.Message = s.Decisions[last].Sentence
	}
	for i, r := range []rollout.Run{m.State.Main, m.State.Fast} {
		if r.Change.ID == o.ID && r.Stage.Runs() {
			ro.Staged.Lane = lanes[i]
			st.running(&ro, r, k, []rollout.Votes{e.Main, e.Fast}[i])
			return ro
		}
	}
	of := func(c rollout.Change) bool { return c.ID == o.ID }
	switch {
	case slices.ContainsFunc(m.State.Held, func(h rollout.Held) bool { return of(h.Change) }):
		st.ended(&ro, s, api.RolloutHeld, api.StageHeld, api.OutcomeHeld)
	case slices.ContainsFunc(m.State.Queue, of):
		ro.Staged.Waits = m.queued()
	case m.joined(o.ID):
		st.ended(&ro, s, api.RolloutDone, api.StageDone, api.OutcomeApplied)
	default:
		st.over(&ro, s)
	}
	return ro
}

// queued is for what a change in the queue waits.
func (m *memory) queued() string {
	switch main := m.State.Main; {
	case m.State.Frozen != "":
		return "a thaw: nothing starts by itself"
	case main.Change.ID != "":
		return "rollout " + main.Change.ID + ", which runs"
	}
	return "its turn"
}

// over says how a rollout ended that is nowhere in the state.
func (st *Stages) over(ro *api.Rollout, s story) {
	to := ""
	for _, d := range s.Decisions {
		if d.From != d.To || to == "" {
			to = d.To
		}
	}
	switch to {
	case api.StageDone:
		st.ended(ro, s, api.RolloutDone, to, api.OutcomeApplied)
	case api.StageRefused:
		st.ended(ro, s, api.RolloutRefused, to, api.OutcomeRefused)
	case api.StageTakenBack:
		st.ended(ro, s, api.RolloutTakenBack, to, api.OutcomeRolledBack)
	default:
		st.ended(ro, s, api.RolloutWithdrawn, api.StageWithdrawn, api.OutcomeRolledBack)
	}
}

// ended gives a rollout its end, with the decision that made it.
func (st *Stages) ended(ro *api.Rollout, s story, state, stage, outcome string) {
	ro.State, ro.Outcome, ro.Staged.Stage = state, outcome, stage
	if last := len(s.Decisions) - 1; last >= 0 {
		ro.Ended = s.Decisions[last].At
	}
	for _, d := range slices.Backward(s.Decisions) {
		if d.To != stage {
			continue
		}
		ro.Message, ro.Ended = d.Sentence, d.At
		if stage == api.StageHeld || stage == api.StageRefused || stage == api.StageTakenBack {
			ro.Staged.Verdict = &api.Verdict{Gate: d.Gate, Why: d.Sentence, Quarantined: d.Quarantined}
			ro.Staged.Evidence = d.Evidence
		}
		return
	}
}

// running describes one that is under way.
func (st *Stages) running(ro *api.Rollout, r rollout.Run, k rollout.Kernel, v rollout.Votes) {
	g, s := st.memory.State.Guards, ro.Staged
	ro.State, ro.Outcome, ro.Number = api.RolloutRunning, api.OutcomeQueued, r.Number
	ro.Message = fmt.Sprintf("rollout %s: %s", ro.ID, r.Status(g))
	s.Stage, s.On, s.Paused, s.Waits, s.Track = r.Stage.String(), r.On, r.Paused, r.Waits, r.Change.Kind.String()
	if r.Stage == rollout.StageCanary {
		s.Step, s.Steps = r.Step+1, len(g.Steps)
		if r.Change.Kind == rollout.KindEmergency {
			s.Step, s.Steps = 1, 1
		}
	}
	switch r.Number {
	case k.Candidate:
		s.SharePermille = k.Share
	case k.Stable:
		s.SharePermille = 1000
	}
	intent := r.Intent(g)
	if intent.NewBlocks > 0 {
		s.Expects = &api.Expects{NewBlocks: intent.NewBlocks, By: intent.By, Accepted: r.Change.Accept > 0}
	}
	s.Evidence = evidenceOf(r.Counts())
	s.Evidence.Unconfirmed, s.Evidence.Lost, s.Evidence.Looks = v.Unconfirmed, v.Lost, looksOf(r.Looks(g))
	for _, b := range v.NewBlocks {
		s.Evidence.Blame = append(s.Evidence.Blame, blameOf(b, v.Pairs, intent))
	}
	if r.Stage == rollout.StageCanary && k.Share < 1000 {
		canary, control := r.Sides()
		s.Evidence.Arms = armsOf(&rollout.Sides{Canary: canary, Control: control})
	}
	s.Estimate = estimateOf(r, g)
	st.unconfirmed(ro, r)
}

// unconfirmed says that it goes back unless a person confirms it: once it decides for everybody it has a deadline.
func (st *Stages) unconfirmed(ro *api.Rollout, r rollout.Run) {
	if r.Change.Confirm == 0 || r.Confirmed {
		return
	}
	ro.Staged.Unconfirmed = true
	if r.Stage == rollout.StageBake && st.Ledger != nil {
		ro.Deadline = st.Ledger.Now().UTC().Add(max(r.Change.Confirm-r.Times.Sure, 0)).Truncate(time.Second)
	}
}

func estimateOf(r rollout.Run, g rollout.Guards) *api.Estimate {
	e := &api.Estimate{}
	if left, known := r.Left(g); known {
		seconds := left.Round(time.Second).Seconds()
		e.StageSecondsLeft = &seconds
	}
	if rest, known := r.Rest(g); known {
		seconds := rest.Round(time.Second).Seconds()
		e.TotalSecondsLeft = &seconds
	}
	if t, known := r.Traffic(); known && r.Change.Kind == rollout.KindBundle {
		of := g.Estimate(t)
		e.Sentence, e.Never = of.Sentence, of.Never
	}
	return e
}
