// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"testing"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/rollout"
)

// What was shown to be good decides on while somebody else keeps it from becoming stable, and becomes stable then.
func TestLeaseGoesOnUntilItIsStable(t *testing.T) {
	s := newSite(t, 1)
	if _, err := s.apply(s.bundles[0], api.RolloutRequest{}); err != nil {
		t.Fatal(err)
	}
	s.until(t, "the last step", func() bool {
		m := s.st.memory.State.Main
		return m.Stage == rollout.StageCanary && m.Step == 2 && m.Seen
	})
	s.mg.Change().Lock() // somebody builds
	for range 9 {
		s.look()
	}
	number, share := s.k.Decides()
	s.mg.Change().Unlock()
	if m := s.st.memory.State.Main; m.Stage != rollout.StageBake || number != m.Number || share != 1000 {
		t.Fatalf("generation %d decides for %d in %s\n  %s", number, share, m.Stage, s.said())
	}
	s.done(t)
	if r := s.ledger.Record(); !s.stable()[s.bundles[0].Digest] || len(r.Quarantine) > 0 {
		t.Errorf("stable %v, quarantine %+v\n  %s", s.stable(), r.Quarantine, s.said())
	}
}

// A canary is compared with what it was built on for as long as it decides, also while it is built again.
func TestCanaryIsGuardedWhileItIsBuiltAgain(t *testing.T) {
	s := newSite(t, 1)
	s.inForce(t, 0, 3)
	if _, err := s.apply(s.bundles[1], api.RolloutRequest{}); err != nil {
		t.Fatal(err)
	}
	s.until(t, "canary", func() bool { return s.k.Word.Canary > 0 })
	main := s.st.memory.State.Main
	if _, err := s.ask(api.RolloutRequest{Remove: "beside"}); err != nil {
		t.Fatal(err)
	}
	stale := false
	for range 30 {
		s.look()
		number, share := s.k.Decides()
		if number != main.Number || share == 0 {
			break
		}
		stale = stale || s.k.Number(s.k.Word.Stable) != main.On
		lane := s.k.Lanes[loader.LaneMain]
		if !lane.On || lane.To.New != number || lane.To.Old != main.On || !s.k.Word.Budget {
			t.Fatalf("generation %d decides, built on %d, and the lane has %+v (%t), word %+v", number, main.On, lane.To,
				lane.On, s.k.Word)
		}
	}
	if !stale {
		t.Error("nothing became stable beneath the canary")
	}
	if m := s.st.memory.State.Main; m.Stage < rollout.StageCanary {
		t.Errorf("it is in %s", m.Stage)
	}
}

// A host file that is published while a generation bakes leaves it under its budget, in the same store.
func TestReloadInABakeKeepsTheBudget(t *testing.T) {
	s := newSite(t, 1)
	if _, err := s.apply(s.bundles[0], api.RolloutRequest{}); err != nil {
		t.Fatal(err)
	}
	s.until(t, "bake", func() bool { m := s.st.memory.State.Main; return m.Stage == rollout.StageBake && m.Seen })
	was := s.k.Number(s.k.Word.Stable)
	s.reload(t, 0)
	if now := s.k.Number(s.k.Word.Stable); now == was || !s.k.Word.Budget || !s.k.Word.Pair {
		t.Errorf("generation %d was built again as %d, and the word is %+v", was, now, s.k.Word)
	}
	s.done(t)
	if r := s.ledger.Record(); !s.stable()[s.bundles[0].Digest] || len(r.Quarantine) > 0 {
		t.Errorf("stable %v, quarantine %+v\n  %s", s.stable(), r.Quarantine, s.said())
	}
}
