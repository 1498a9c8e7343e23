// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/state"
)

// What must be confirmed says so in each stage, with a deadline once it decides for everybody, until it is confirmed;
// decisions are counted by their gates.
func TestUnconfirmedIsTold(t *testing.T) {
	s := newSite(t, 1)
	id, err := s.apply(s.bundles[0], api.RolloutRequest{ConfirmSeconds: 86_400})
	if err != nil {
		t.Fatal(err)
	}
	told := func() *api.Rollout { return s.st.told.rollout(id) }
	s.until(t, "shadow", func() bool { return s.st.memory.State.Main.Stage == rollout.StageShadow })
	if ro := told(); !ro.Staged.Unconfirmed || !ro.Deadline.IsZero() || ro.Staged.Lane != "main" {
		t.Errorf("in shadow: %+v, deadline %v", ro.Staged, ro.Deadline)
	}
	s.until(t, "bake", func() bool { return s.st.memory.State.Main.Stage == rollout.StageBake })
	if ro := told(); !ro.Staged.Unconfirmed || ro.Deadline.IsZero() {
		t.Errorf("in bake: %+v, deadline %v", ro.Staged, ro.Deadline)
	}
	s.st.Do(rollout.Command{Verb: rollout.VerbConfirm, ID: id, By: "ann"})
	if ro := told(); ro.Staged.Unconfirmed || !ro.Deadline.IsZero() {
		t.Errorf("confirmed: %+v, deadline %v", ro.Staged, ro.Deadline)
	}
	if by, back := s.st.Counts(); by["taste"] != 1 || by["person"] != 1 || back != 0 {
		t.Errorf("counted %v, %d taken back", by, back)
	}
}

// An order that has no effect is in the history as one.
func TestOrderWithoutEffectInTheHistory(t *testing.T) {
	s := newSite(t, 1)
	id, err := s.apply(s.bundles[0], api.RolloutRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []rollout.Verb{rollout.VerbPromote, rollout.VerbResume} {
		said, err := s.st.Do(rollout.Command{Verb: verb, ID: id, By: "ann", Reason: "now"})
		if err != nil || len(said) == 0 || !strings.HasPrefix(said[0].Sentence, rollout.NothingChanged) {
			t.Fatalf("%s: %+v, %v", verb, said, err)
		}
		i := slices.IndexFunc(s.disk.Entries, func(e state.Entry) bool { return e.Reason == said[0].Sentence })
		if i < 0 || s.disk.Entries[i].Outcome != api.OutcomeUnchanged {
			t.Errorf("%s: %s", verb, s.said())
		}
	}
}

// Who plans the next rollout is told of the traffic that the last one saw, also after a restart.
func TestTrafficOfTheLastRolloutIsKept(t *testing.T) {
	s := newSite(t, 1)
	if seen := s.st.around.Traffic(); seen != (rollout.Traffic{}) {
		t.Errorf("nothing was measured, and %+v is told", seen)
	}
	if _, err := s.apply(s.bundles[0], api.RolloutRequest{}); err != nil {
		t.Fatal(err)
	}
	s.until(t, "bake", func() bool { return s.st.memory.State.Main.Stage == rollout.StageBake })
	seen := s.st.around.Traffic()
	if seen.VotesADay <= 0 {
		t.Errorf("after shadow and canary: %+v", seen)
	}
	s.start()
	if again := s.st.around.Traffic(); again.VotesADay <= 0 {
		t.Errorf("after a restart: %+v, before it %+v", again, seen)
	}
}

// What a person's order decides is in the history as theirs; what the engine decides by itself, as the agent's.
func TestHistorySaysWhoseOrderItWas(t *testing.T) {
	for _, order := range []rollout.Command{{Verb: rollout.VerbAbort}, {Verb: rollout.VerbPause},
		{Verb: rollout.VerbFreeze}, {Verb: rollout.VerbBack}, {Verb: rollout.VerbPromote}} {
		s := newSite(t, 1)
		id, err := s.apply(s.bundles[0], api.RolloutRequest{})
		if err != nil {
			t.Fatal(err)
		}
		s.until(t, "shadow", func() bool { return s.st.memory.State.Main.Stage == rollout.StageShadow })
		order.ID, order.By, order.UID, order.Reason = id, "ann", 1000, "now"
		said, err := s.st.Do(order)
		if err != nil || len(said) == 0 {
			t.Fatalf("%s: %+v, %v", order.Verb, said, err)
		}
		whose := map[string]state.Entry{}
		for _, e := range s.disk.Entries {
			whose[e.Reason] = e
		}
		if e := whose[said[0].Sentence]; e.User != "ann" || e.UID != 1000 {
			t.Errorf("%s: %q is of %s, %d", order.Verb, said[0].Sentence, e.User, e.UID)
		}
		own := 0
		for _, e := range s.disk.Entries {
			if e.User == ledger.Itself().User && e.Verb == "rollout" {
				own++
			}
		}
		if own == 0 {
			t.Errorf("%s: nothing is the agent's: %s", order.Verb, s.said())
		}
	}
}

// A rollback goes another way to the engine, by the record.
func TestHistorySaysWhoRolledBack(t *testing.T) {
	s := newSite(t, 1)
	s.inForce(t, 0, 3)
	if _, err := s.apply(s.bundles[1], api.RolloutRequest{}); err != nil {
		t.Fatal(err)
	}
	s.until(t, "shadow", func() bool { return s.st.memory.State.Main.Stage == rollout.StageShadow })
	ann := api.Caller{User: "ann", UID: 1000}
	if _, err := NewFront(s.mg, s.st).Rollback(t.Context(), ann, api.RollbackRequest{Reason: "it harms"}); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.disk.Entries, func(e state.Entry) bool { return e.Reason == "ann rolled back: it harms." })
	if i < 0 || s.disk.Entries[i].User != "ann" || s.disk.Entries[i].UID != 1000 {
		t.Errorf("entry %d: %s", i, s.said())
	}
}

// The history says which of the blamed rules its bundle named.
func TestDecisionSaysWhatWasDeclared(t *testing.T) {
	d := rollout.Decision{ID: "1", Grounds: rollout.Grounds{Counts: rollout.Counts{Pairs: 10},
		Blame: []rollout.Blame{{Label: "scanner", Votes: 2}, {Label: "other", Votes: 1}}}}
	e := decisionOf(d, time.Time{}, rollout.Intent{NewBlocks: 0.1, By: []string{"scanner"}}).Evidence
	if !e.Blame[0].Declared || e.Blame[1].Declared {
		t.Errorf("%+v", e.Blame)
	}
}

// Who froze, and since when, survives a restart. Two rollouts that were taken back are nobody.
func TestFreezeSaysWhoAndSinceWhen(t *testing.T) {
	s := newSite(t, 1)
	s.looks(3)
	at := s.wall.Truncate(time.Second)
	if _, err := s.st.Do(rollout.Command{Verb: rollout.VerbFreeze, By: "ann", Reason: "sale"}); err != nil {
		t.Fatal(err)
	}
	s.look()
	for range 2 {
		_, rest := s.st.told.list()
		if f := rest.Frozen; f == nil || f.By != "ann" || f.Why != "sale" || !f.Since.Equal(at) {
			t.Errorf("frozen %+v, since %s", f, at)
		}
		s.start() // the second time: before its first look
	}
	if _, err := s.st.Do(rollout.Command{Verb: rollout.VerbThaw, By: "ann", Reason: "over"}); err != nil {
		t.Fatal(err)
	}
	if _, rest := s.st.told.list(); rest.Frozen != nil {
		t.Errorf("thawed: %+v", rest.Frozen)
	}
	m := &memory{State: rollout.State{Frozen: "two rollouts were taken back within an hour"}, Freeze: freeze{By: "ann"}}
	m.froze(rollout.State{}, nil, at)
	if f := m.frozen(); f.By != "" || !f.Since.Equal(at) {
		t.Errorf("by itself: %+v", f)
	}
}

// An agent that starts tells what rolls out before it looked for the first time.
func TestStartTellsWhatRollsOut(t *testing.T) {
	s := newSite(t, 1)
	id, err := s.apply(s.bundles[0], api.RolloutRequest{})
	if err != nil {
		t.Fatal(err)
	}
	s.until(t, "canary", func() bool { return s.k.Word.Canary > 0 })
	s.start()
	if ro := s.st.told.rollout(id); ro == nil || ro.Staged.Stage != api.StageCanary || ro.Staged.SharePermille != 0 {
		t.Errorf("before the first look: %+v", ro)
	}
	s.look()
	if ro := s.st.told.rollout(id); ro == nil || ro.Staged.SharePermille == 0 {
		t.Errorf("after it: %+v", ro)
	}
}

// What a rollout was judged by stays in its decisions: the two sides of a canary, and what the kernel had no room for.
func TestDecisionsHaveTheirEvidence(t *testing.T) {
	s := newSite(t, 1)
	id, err := s.apply(s.bundles[0], api.RolloutRequest{})
	if err != nil {
		t.Fatal(err)
	}
	s.until(t, "shadow", func() bool { return s.st.memory.State.Main.Stage == rollout.StageShadow })
	s.looks(2)
	s.k.Lanes[0].Counts.Lost, s.k.Lanes[0].Counts.Unconfirmed = 7, 9
	s.looks(1)
	if e := s.st.told.rollout(id).Staged.Evidence; e.Lost != 7 || e.Unconfirmed != 9 {
		t.Errorf("live: %+v", e)
	}
	s.done(t)
	canaries := 0
	for _, e := range s.disk.Entries {
		d := new(api.Decision)
		if len(e.Decision) == 0 || json.Unmarshal(e.Decision, d) != nil || d.From != api.StageCanary {
			continue
		}
		canaries++
		if d.Evidence == nil || d.Evidence.Lost != 7 || d.Evidence.Unconfirmed != 9 ||
			d.Step < len(siteGuards.Steps) && (d.Evidence.Arms == nil || d.Evidence.Arms.Canary.Sources == 0) {
			t.Errorf("step %d: %+v", d.Step, d.Evidence)
		}
	}
	if canaries != len(siteGuards.Steps) {
		t.Errorf("%d decisions of canaries\n  %s", canaries, s.said())
	}
}

// A rule is told by its id, apart from what it matches.
func TestBlameHasTheIDOfTheBundle(t *testing.T) {
	for _, c := range []struct {
		of          rollout.Blame
		id, feature string
	}{
		{rollout.Blame{Rule: 3, What: "python: ja4 t13d…"}, "python", "ja4 t13d…"},
		{rollout.Blame{Rule: 3, What: "python"}, "python", ""},
		{rollout.Blame{Rule: -2, What: "several rules together"}, "", "several rules together"},
		{rollout.Blame{Rule: -1, What: "what is no rule (fragments: drop)"}, "", "what is no rule (fragments: drop)"},
	} {
		if b := blameOf(c.of, 0, rollout.Intent{}); b.ID != c.id || b.Feature != c.feature {
			t.Errorf("%+v", b)
		}
	}
}

// Whoever asks for a rollout after the agent has started again is told how it ended, and its id is given to no other.
func TestWhatEndedOutlivesTheAgent(t *testing.T) {
	s := newSite(t, 1)
	if _, err := s.apply(s.bundles[0], api.RolloutRequest{}); err != nil {
		t.Fatal(err)
	}
	s.done(t)
	var ids []string
	for i := range mostOver + 3 {
		r := api.RolloutRequest{Stored: hexOf(s.bundles[3])}
		if i%2 == 1 {
			r = api.RolloutRequest{Remove: "beside", Reason: "meant", Accept: "meant"}
		}
		s.disk.Sets[s.bundles[3].Digest] = config.NewSet(s.bundles[3])
		id, err := s.ask(r)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
		s.done(t)
		s.looks(2)
	}
	last := ids[len(ids)-1]
	before := s.st.told.rollout(last)
	s.start()
	s.looks(1)
	after := s.st.told.rollout(last)
	if after == nil || after.State != api.RolloutDone || after.Message != before.Message ||
		!after.Ended.Equal(before.Ended) || len(after.Staged.Decisions) != len(before.Staged.Decisions) {
		t.Errorf("it was %+v, and is %+v", before, after)
	}
	if n := len(s.st.memory.Over); n != mostOver || s.st.told.rollout(ids[0]) != nil {
		t.Errorf("%d are kept, want %d", n, mostOver)
	}
	if id, err := s.ask(api.RolloutRequest{Remove: "beside", Reason: "meant", Accept: "meant"}); err != nil ||
		slices.Contains(ids, id) {
		t.Errorf("another one is %s, %v", id, err)
	}
}
