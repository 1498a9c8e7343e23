// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"slices"
	"testing"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/rollout"
)

// What stays in force while its change waits for an emergency is held to its budget in the lane of the fast track, and
// keeps the slot of what it would give way to; when it uses the budget up it is taken back.
func TestWhatStandsKeepsItsBudget(t *testing.T) {
	for _, again := range []bool{false, true} {
		s := newSite(t, 1)
		s.inForce(t, 0)
		under := s.k.Number(s.k.Word.Stable)
		if _, err := s.apply(s.bundles[1], api.RolloutRequest{}); err != nil {
			t.Fatal(err)
		}
		s.until(t, "bake", func() bool {
			return s.st.memory.State.Main.Stage == rollout.StageBake && s.stable()[s.bundles[1].Digest]
		})
		s.looks(2)
		stands := s.k.Number(s.k.Word.Stable)
		s.disk.Sets[s.bundles[3].Digest] = s.setOf(s.bundles[3])
		if _, err := NewFront(s.mg, s.st).StartRollout(t.Context(), person, api.RolloutRequest{Stored: hexOf(s.bundles[3]),
			Emergency: true, Reason: "an attack", Accept: "an attack"}, nil); err != nil {
			t.Fatal(err)
		}
		s.looks(4)
		if again {
			id := s.st.memory.State.Main.Change.ID
			if _, err := s.st.Do(rollout.Command{Verb: rollout.VerbAbort, ID: id, By: "root", Reason: "over"}); err != nil {
				t.Fatal(err)
			}
			s.until(t, "it begins again", func() bool { return s.st.memory.State.Main.Stage == rollout.StageShadow })
			s.look()
		}
		to, runs := s.k.Running(loader.LaneFast)
		if !runs || to.Old != under || to.New != stands || !s.k.Word.Budget || !s.k.Word.Pair {
			t.Errorf("again %t: the lane compares %+v %t, word %+v; want %d with %d", again, to, runs, s.k.Word, stands,
				under)
		}
		if kept := s.st.around.Keeps(); !slices.Contains(kept, under) || !slices.Contains(kept, stands) {
			t.Errorf("again %t: kept are %v", again, kept)
		}
		s.k.Trips.Spent[loader.LaneMain][0] = stands
		s.looks(3)
		if s.stable()[s.bundles[1].Digest] || len(s.ledger.Record().Quarantine) != 1 {
			t.Errorf("again %t: stable %v, quarantine %v\n  %s", again, s.stable(), s.ledger.Record().Quarantine, s.said())
		}
		s.done(t)
		if s.stable()[s.bundles[1].Digest] || !s.stable()[s.bundles[0].Digest] {
			t.Errorf("again %t: stable %v\n  %s", again, s.stable(), s.said())
		}
	}
}
