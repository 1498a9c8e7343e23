// SPDX-License-Identifier: Apache-2.0

package rollout

import "testing"

// While a host observes, a change is stable at once and last-known-good never. One that was about to be when the host
// began to enforce takes all stages.
func TestChangeWhileTheHostObserves(t *testing.T) {
	h := newHost(plain(bundle(0)), firstSeed)
	h.k.Observes = true
	h.looks(t, 4)
	if h.seen.ended != StageDone || h.s.Known.Number != 1 || h.owner[h.k.Stable] != ownTry {
		t.Errorf("it ended %s, known %+v, kernel %+v", h.seen.ended, h.s.Known, h.k)
	}
	h = newHost(plain(bundle(0)), firstSeed)
	h.k.Observes, h.bad.action = true, 1 // nothing is carried out
	h.looks(t, 2)
	h.s.Main = Run{Change: h.s.Main.Change, Number: 2, On: 1, Stage: StageBake, Observed: true}
	h.k.Observes = false
	h.looks(t, 1)
	if m := h.s.Main; m.Stage != StageShadow || m.Observed || h.k.Stable != 1 {
		t.Errorf("it goes on in %s; kernel %+v", m.Stage, h.k)
	}
}

// What the kernel no longer has begins again from taste, as another attempt.
func TestForgottenGenerationBeginsAgain(t *testing.T) {
	for _, at := range []Stage{StageShadow, StageCanary, StageBake} {
		h := newHost(plain(bundle(0)), firstSeed)
		h.until(t, at)
		h.looks(t, 2)
		number := h.s.Main.Number
		h.k = Kernel{Known: true, Stable: 1, Deciding: true, Resident: []uint32{1}}
		h.looks(t, 1)
		if m := h.s.Main; m.Stage != StageTaste || m.Change.Attempt != 1 || len(h.s.Held)+len(h.s.Quarantine) > 0 {
			t.Errorf("%s: generation %d is gone, and it is in %s, attempt %d", at, number, m.Stage, m.Change.Attempt)
		}
	}
}

// A bundle that was condemned while it ran ends where it is; who passes a quarantine with a reason lifts it.
func TestCondemnedWhileItRuns(t *testing.T) {
	h := newHost(plain(bundle(0)), firstSeed)
	h.until(t, StageCanary)
	c := h.s.Main.Change
	h.s.Quarantine = []Quarantined{{Name: c.Name, Digest: c.Digest, Gate: GatePerson, Why: "it harms"}}
	h.looks(t, 3)
	if h.seen.ended != StageTakenBack || h.k.Candidate != 0 {
		t.Fatalf("it ended %s, kernel %+v", h.seen.ended, h.k)
	}
	c.ID, c.Thaw = "r2", "it does not"
	h.ask(t, Command{Verb: VerbApply, Change: c})
	h.looks(t, 3)
	if len(h.s.Quarantine) != 0 || h.s.Main.Change.ID != "r2" || h.s.Main.Stage < StageTaste {
		t.Errorf("quarantine %v, main %+v", h.s.Quarantine, h.s.Main)
	}
}

// A generation that was built again from the same bundles has the place of the one before.
func TestRenumbered(t *testing.T) {
	h := newHost(plain(bundle(0)), firstSeed)
	h.until(t, StageBake)
	h.looks(t, 2)
	was := h.s.Main.Number
	s := h.s
	s.Undo = []Undo{{Number: 9, To: was}}
	s.Known.Number = was
	next := s.Renumbered(was, 77)
	if next.Main.Number != 77 || next.Undo[0].To != 77 || next.Known.Number != 77 || s.Undo[0].To != was {
		t.Errorf("%+v, %+v", next.Main.Number, next.Undo)
	}
}
