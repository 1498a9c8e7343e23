// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// Where the generation to go back to is in no slot, what is previous by chance does not decide in its place: the same
// set under another number does, or nothing.
func TestTakeBackToWhatIsInNoSlot(t *testing.T) {
	for _, known := range []bool{false, true} {
		s := newSite(t, 1)
		for _, b := range s.bundles[:2] {
			if _, err := s.apply(b, api.RolloutRequest{Accept: "meant"}); err != nil {
				t.Fatal(err)
			}
			s.done(t)
		}
		c := s.k.Word
		if c.Previous == bpf.SlotEmpty {
			t.Fatal("there is no previous")
		}
		if known {
			if err := s.ledger.Update(func(r *state.Record) { r.Previous.Number = 777 }); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.mg.Hand().TakeBack(s.k.Number(c.Stable), 777, "it harms"); err != nil {
			t.Fatal(err)
		}
		want := uint8(bpf.SlotEmpty)
		if known {
			want = c.Previous
		}
		if now := s.k.Word; now.Stable != want || now.Previous != bpf.SlotEmpty {
			t.Errorf("known %t: stable is slot %d, previous %d; want %d\n  %s", known, now.Stable, now.Previous,
				want, s.said())
		}
		if fault := s.agrees(); fault != "" {
			t.Errorf("known %t: %s", known, fault)
		}
	}
}

// What is left, what tripped and what is in quarantine decides for nobody after a way back, whatever set it was built
// from.
func TestTakeBackSkipsWhatIsNoWayBack(t *testing.T) {
	for _, why := range []string{"nothing", "it is left", "it tripped", "it is in quarantine"} {
		s := newSite(t, 1)
		s.inForce(t, 0, 1)
		c := s.k.Word
		left, was := s.k.Number(c.Stable), s.ledger.Record().Previous
		if err := s.ledger.Update(func(r *state.Record) {
			r.Previous.Number = 777
			switch why {
			case "it is left":
				r.Previous.Digest = r.Applied.Digest
				r.Previous.Members = r.Applied.Members
			case "it is in quarantine":
				r.Condemn(state.Quarantined{Name: was.Name(), Digest: was.Digest, At: s.wall})
			}
		}); err != nil {
			t.Fatal(err)
		}
		if why == "it tripped" {
			s.k.SetTripped(s.k.Number(c.Previous))
		}
		if err := s.mg.Hand().TakeBack(left, 777, "it harms"); err != nil {
			t.Fatal(err)
		}
		want := uint8(bpf.SlotEmpty)
		if why == "nothing" {
			want = c.Previous
		}
		if now := s.k.Word.Stable; now != want {
			t.Errorf("%s: stable is slot %d, want %d\n  %s", why, now, want, s.said())
		}
	}
}
