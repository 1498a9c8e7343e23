// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"testing"

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
	number, share := s.k.decides()
	s.mg.Change().Unlock()
	if m := s.st.memory.State.Main; m.Stage != rollout.StageBake || number != m.Number || share != 1000 {
		t.Fatalf("generation %d decides for %d in %s\n  %s", number, share, m.Stage, s.said())
	}
	s.done(t)
	if r := s.ledger.Record(); !s.stable()[s.bundles[0].Digest] || len(r.Quarantine) > 0 {
		t.Errorf("stable %v, quarantine %+v\n  %s", s.stable(), r.Quarantine, s.said())
	}
}
