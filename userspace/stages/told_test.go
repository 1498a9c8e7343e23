// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/rollout"
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

// The history says which of the blamed rules its bundle named.
func TestDecisionSaysWhatWasDeclared(t *testing.T) {
	d := rollout.Decision{ID: "1", Counts: rollout.Counts{Pairs: 10}, Blame: []rollout.Blame{{Label: "scanner", Votes: 2},
		{Label: "other", Votes: 1}}}
	e := decisionOf(d, time.Time{}, rollout.Intent{NewBlocks: 0.1, By: []string{"scanner"}}).Evidence
	if !e.Blame[0].Declared || e.Blame[1].Declared {
		t.Errorf("%+v", e.Blame)
	}
}
