// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"slices"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// reload publishes one of the two host files.
func (s *site) reload(t *testing.T, i int) {
	t.Helper()
	if err := s.reloadFile(s.hosts[i]); err != nil {
		t.Fatal(err)
	}
}

// What was applied while the host observed does not block with the reload that lets it: last-known-good decides from
// the moment of the reload, and the set comes in stages.
func TestSetThatWasObservedComesInStages(t *testing.T) {
	for _, known := range []bool{false, true} {
		s := newSite(t, 1)
		if known {
			if _, err := s.apply(s.bundles[0], api.RolloutRequest{}); err != nil {
				t.Fatal(err)
			}
			s.done(t)
		}
		s.reload(t, 1)
		if _, err := s.apply(s.bundles[1], api.RolloutRequest{}); err != nil {
			t.Fatal(err)
		}
		s.until(t, "it is observed", func() bool { return s.stable()[s.bundles[1].Digest] })
		s.looks(2)
		s.reload(t, 0)
		if s.k.Word.Mode != bpf.ModeEnforce || s.stable()[s.bundles[1].Digest] ||
			s.stable()[s.bundles[0].Digest] != known || s.k.Word.Previous != 0 {
			t.Fatalf("known %t: word %+v, stable %v", known, s.k.Word, s.stable())
		}
		f := NewFront(s.mg, s.st)
		if !f.Waits() {
			t.Fatal("nothing comes")
		}
		f.TakeUp()
		s.until(t, "canary", func() bool { return s.k.Word.Canary > 0 })
		s.done(t)
		if r := s.ledger.Record(); !s.stable()[s.bundles[1].Digest] || r.LastKnownGood.Digest != s.bundles[1].Digest {
			t.Errorf("known %t: stable %v\n  %s", known, s.stable(), s.said())
		}
		if fault := s.holds(true); fault != "" {
			t.Error(fault)
		}
	}
}

// What was taken out while the host observed is not in force with the reload that lets it block, although
// last-known-good has it, and what was in force comes in stages also where the agent dies before it asked.
func TestWhatWasTakenOutDoesNotComeBack(t *testing.T) {
	for _, dies := range []bool{false, true} {
		s := newSite(t, 1)
		s.inForce(t, 0, 3)
		s.reload(t, 1)
		if _, err := s.ask(api.RolloutRequest{Remove: "beside"}); err != nil {
			t.Fatal(err)
		}
		s.until(t, "it is taken out", func() bool { return !s.stable()[s.bundles[3].Digest] })
		if _, err := s.apply(s.bundles[1], api.RolloutRequest{}); err != nil {
			t.Fatal(err)
		}
		s.until(t, "it is observed", func() bool { return s.stable()[s.bundles[1].Digest] })
		s.looks(2)
		s.reload(t, 0)
		if now := s.stable(); now[s.bundles[3].Digest] || !now[s.bundles[0].Digest] {
			t.Fatalf("dies %t: stable %v\n  %s", dies, now, s.said())
		}
		if dies {
			s.start()
		}
		f := NewFront(s.mg, s.st)
		for range 3 { // a job that runs once more does nothing
			if f.Waits() {
				f.TakeUp()
			}
		}
		s.done(t)
		s.looks(2)
		if now := s.stable(); now[s.bundles[3].Digest] || !now[s.bundles[1].Digest] || f.Waits() {
			t.Errorf("dies %t: stable %v\n  %s", dies, now, s.said())
		}
		if fault := s.holds(true); fault != "" {
			t.Error(fault)
		}
	}
}

// What is asked in the place of what was observed: who has the policy takes the place of who had it, and what is gone
// is taken out.
func TestWhatIsAskedForWhatWasObserved(t *testing.T) {
	member := func(name string, n byte, policy bool) state.Member {
		return state.Member{Name: name, Digest: config.Digest{n}, Policy: policy}
	}
	left := state.Generation{Members: []state.Member{member("aside", 1, false), member("new", 2, true)}}
	now := &state.Generation{Members: []state.Member{member("gone", 3, false), member("old", 4, true)}}
	var got []string
	for _, r := range takeUp(now, left) {
		got = append(got, nameOf(left, r)+"-"+r.Remove)
	}
	if want := []string{"new-old", "aside-", "gone-gone"}; !slices.Equal(got, want) {
		t.Errorf("asked %v, want %v", got, want)
	}
}
