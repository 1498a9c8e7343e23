// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"strings"
	"testing"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/rollout"
)

// What somebody rolled back does not come by itself afterwards: what waits, what is tasted and what is in shadow ends
// with it, also where the agent dies before it looked, and nothing of it is condemned. What lets more pass goes on.
func TestRollbackEndsWhatWouldComeByItself(t *testing.T) {
	for _, stage := range []rollout.Stage{rollout.StageNone, rollout.StageTaste, rollout.StageShadow} {
		for _, dies := range []bool{false, true} {
			s := newSite(t, 1)
			s.inForce(t, 0, 3)
			first := 1
			if stage == rollout.StageNone {
				first = 4 // which has the lane
			}
			if _, err := s.apply(s.bundles[first], api.RolloutRequest{}); err != nil {
				t.Fatal(err)
			}
			if stage == rollout.StageNone {
				s.until(t, "canary", func() bool { return s.k.Word.Canary > 0 })
				if _, err := s.apply(s.bundles[1], api.RolloutRequest{}); err != nil {
					t.Fatal(err)
				}
			} else {
				s.until(t, stage.String(), func() bool { return s.st.memory.State.Main.Stage == stage })
			}
			if dies {
				if _, err := s.mg.Rollback(t.Context(), person, api.RollbackRequest{Reason: "it harms"}); err != nil {
					t.Fatal(err)
				}
				s.start()
			} else {
				c, err := NewFront(s.mg, s.st).Rollback(t.Context(), person, api.RollbackRequest{Reason: "it harms"})
				if err != nil || !strings.Contains(strings.Join(c.Details, " "), "withdrawn") {
					t.Fatalf("%s: %+v, %v", stage, c, err)
				}
			}
			s.done(t)
			s.looks(60)
			if s.stable()[s.bundles[1].Digest] || len(s.st.memory.State.Queue) > 0 {
				t.Errorf("%s, dies %t: it comes all the same\n  %s", stage, dies, s.said())
			}
			for _, q := range s.ledger.Record().Quarantine {
				if q.Digest == s.bundles[1].Digest {
					t.Errorf("%s: %+v", stage, q)
				}
			}
			if fault := s.holds(true); fault != "" {
				t.Errorf("%s: %s", stage, fault)
			}
		}
	}
}

// Where nothing was in force before, a rollback takes back what bakes, and ends what is about to come.
func TestRollbackWithoutAPreviousGeneration(t *testing.T) {
	for _, stage := range []rollout.Stage{rollout.StageTaste, rollout.StageShadow, rollout.StageBake} {
		s := newSite(t, 1)
		if _, err := s.apply(s.bundles[0], api.RolloutRequest{}); err != nil {
			t.Fatal(err)
		}
		s.until(t, stage.String(), func() bool {
			return s.st.memory.State.Main.Stage == stage && (stage != rollout.StageBake || s.stable()[s.bundles[0].Digest])
		})
		s.look()
		if _, err := NewFront(s.mg, s.st).Rollback(t.Context(), person, api.RollbackRequest{Reason: "it harms"}); err != nil {
			t.Errorf("%s: %v", stage, err)
		}
		s.done(t)
		s.looks(60)
		if s.stable()[s.bundles[0].Digest] {
			t.Errorf("%s: it is in force\n  %s", stage, s.said())
		}
		if n := len(s.ledger.Record().Quarantine); (n > 0) != (stage == rollout.StageBake) {
			t.Errorf("%s: %d are condemned, and only what decided is\n  %s", stage, n, s.said())
		}
	}
	s := newSite(t, 1)
	if _, err := NewFront(s.mg, s.st).Rollback(t.Context(), person, api.RollbackRequest{Reason: "x"}); err == nil {
		t.Error("there is nothing to go back from, and it says done")
	}
}

// The rollback of one bundle ends the rollout that runs, and the newer one that waits.
func TestRollbackOfOneEndsTheOneThatWaits(t *testing.T) {
	s := newSite(t, 1)
	for i, b := range s.bundles[:3] {
		if _, err := s.apply(b, api.RolloutRequest{}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			s.done(t)
		} else {
			s.until(t, "canary", func() bool { return s.k.Word.Canary > 0 })
		}
	}
	if _, err := NewFront(s.mg, s.st).Rollback(t.Context(), person,
		api.RollbackRequest{Bundle: "base", Reason: "it harms"}); err != nil {
		t.Fatal(err)
	}
	s.done(t)
	s.looks(60)
	if !s.stable()[s.bundles[0].Digest] {
		t.Errorf("stable %v\n  %s", s.stable(), s.said())
	}
}
