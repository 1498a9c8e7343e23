// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/rollout"
)

// busy is a taster that never gets its turn.
type busy struct{}

func (busy) Taste(*release.Order, int) (t rollout.Taste, busy bool) { return t, true }

// A taste that never ends, and one that never gets its turn, hold their lane for a bounded time: the host could not
// try, and nothing is condemned.
func TestTasteWithoutAnAnswerIsHeld(t *testing.T) {
	for name, hang := range map[string]func(*Stages){
		"it never ends":           func(st *Stages) { st.Spawn = func(func()) {} },
		"somebody is always busy": func(st *Stages) { st.Taster = func() Taster { return busy{} } },
	} {
		s := newSite(t, 1)
		s.inForce(t, 0)
		hang(s.st)
		id, err := s.apply(s.bundles[1], api.RolloutRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for s.looks(2); s.st.memory.runs() && s.mono < 3*time.Hour; s.look() {
			s.mono, s.wall = s.mono+time.Minute, s.wall.Add(time.Minute)
		}
		held := s.st.memory.State.Held
		if len(held) != 1 || held[0].Change.ID != id || held[0].Gate != rollout.GateTaste {
			t.Errorf("%s: held %+v, main %+v", name, held, s.st.memory.State.Main)
		}
		if took := s.mono - time.Hour; took < 5*tasteMost || took > 2*time.Hour || len(s.ledger.Record().Quarantine) > 0 {
			t.Errorf("%s: after %s, quarantine %v", name, took, s.ledger.Record().Quarantine)
		}
		if !s.stable()[s.bundles[0].Digest] {
			t.Errorf("%s: stable %v", name, s.stable())
		}
	}
}
