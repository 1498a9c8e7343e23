// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"strings"
	"testing"
	"time"
)

// until looks until a stage has begun and been looked at once more.
func (h *host) until(t *testing.T, stage Stage) {
	t.Helper()
	for h.s.Main.Stage != stage || h.s.Main.Times.Stage == 0 {
		if fault := h.look(); fault != "" || h.seen.looks > 2000 || h.seen.ended != 0 {
			t.Fatalf("%s waits for %s, and ended %s %s", h.s.Main.Stage, h.s.Main.Waits, h.seen.ended, fault)
		}
	}
}

func (h *host) ask(t *testing.T, c Command) {
	t.Helper()
	c.By = "root"
	h.e.Commands = append(h.e.Commands, c)
	if fault := h.look(); fault != "" {
		t.Fatal(fault)
	}
}

func (h *host) looks(t *testing.T, n int) {
	t.Helper()
	for range n {
		if fault := h.look(); fault != "" {
			t.Fatal(fault)
		}
	}
}

// Step changes none of its arguments, and the same arguments give the same results, over rollouts with and without
// bad luck and a queue from which changes are taken.
func TestStepIsPure(t *testing.T) {
	for i := range uint64(6) {
		w := plain(bundle(0.05, meant))
		w.declared, w.guards.Lease, w.forever = 0.05, 5*time.Minute, true
		if i%2 == 1 {
			w.bad = chaos
		}
		h := newHost(w, firstSeed+i)
		h.e.Commands = append(h.e.Commands, Command{Verb: VerbApply, Change: feed("f1", KindDelta)})
		for n, name := range []string{"other", "third", "last"} {
			c := Change{ID: "r" + itoa(n+3), Name: name, Digest: digest(n + 3), Expects: h.change.Expects}
			h.e.Commands = append(h.e.Commands, Command{Verb: VerbApply, Change: c})
		}
		h.strict = true
		h.looks(t, 250)
		if h.s.Main.Change.ID == ownTry {
			t.Error("what waited did not begin: nothing was taken out of a queue that others see")
		}
	}
}

// The zero evidence promotes nothing and takes nothing back, in any stage.
func TestNothingKnownIsNeitherHealthNorHarm(t *testing.T) {
	for _, at := range []Stage{StageShadow, StageCanary, StageBake} {
		h := newHost(plain(bundle(0)), firstSeed)
		h.until(t, at)
		s := h.s
		for range 60 {
			h.now += time.Minute
			var actions []Action
			if s, actions = Step(s, Evidence{}, h.now); len(actions) > 0 {
				t.Fatalf("%s: %+v", at, actions)
			}
		}
		if s.Main.Stage != at || s.Main.Step != h.s.Main.Step {
			t.Errorf("%s became %s", at, s.Main.Stage)
		}
	}
}

func TestPeople(t *testing.T) {
	w := plain(bundle(0))
	t.Run("all but apply and confirm need a reason", func(t *testing.T) {
		for _, v := range []Verb{VerbPause, VerbResume, VerbAbort, VerbPromote, VerbAccept, VerbFreeze, VerbThaw} {
			h := newHost(w, firstSeed)
			h.until(t, StageCanary)
			before := h.s.Main.Step
			h.ask(t, Command{Verb: v, ID: ownTry, Share: 0.1})
			if m := h.s.Main; m.Stage != StageCanary || m.Paused != "" || h.s.Frozen != "" || m.Step != before {
				t.Errorf("%s without a reason did something", v)
			}
		}
	})
	t.Run("pause keeps the share, resume goes on", func(t *testing.T) {
		h := newHost(w, firstSeed)
		h.until(t, StageCanary)
		h.ask(t, Command{Verb: VerbPause, ID: ownTry, Reason: "lunch"})
		step := h.s.Main.Step
		h.looks(t, 120)
		if h.s.Main.Step != step || h.s.Main.Waits != waitPaused || h.k.Share == 0 {
			t.Errorf("step %d, share %d, waits for %s", h.s.Main.Step, h.k.Share, h.s.Main.Waits)
		}
		h.ask(t, Command{Verb: VerbResume, ID: ownTry, Reason: "back"})
		if fault := h.run(1000); fault != "" || h.seen.ended != StageDone {
			t.Errorf("%s, ended %s", fault, h.seen.ended)
		}
	})
	t.Run("a pause does not stop harm", func(t *testing.T) {
		h := newHost(w, firstSeed)
		h.until(t, StageCanary)
		h.ask(t, Command{Verb: VerbPause, ID: ownTry, Reason: "lunch"})
		h.canaryFail = 1
		if fault := h.run(10); fault != "" || h.seen.ended != StageTakenBack {
			t.Errorf("%s, ended %s", fault, h.seen.ended)
		}
	})
	t.Run("abort condemns nothing", func(t *testing.T) {
		h := newHost(w, firstSeed)
		h.until(t, StageCanary)
		h.ask(t, Command{Verb: VerbAbort, ID: ownTry, Reason: "not today"})
		h.looks(t, 1)
		if h.seen.ended != StageWithdrawn || len(h.s.Quarantine) > 0 || h.k.Candidate != 0 {
			t.Errorf("ended %s, quarantine %v, kernel %+v", h.seen.ended, h.s.Quarantine, h.k)
		}
	})
	t.Run("promote goes on one stage and says why", func(t *testing.T) {
		slow := w
		slow.rate = 0.1
		h := newHost(slow, firstSeed)
		h.until(t, StageShadow)
		h.ask(t, Command{Verb: VerbPromote, ID: ownTry, Reason: "a small site"})
		if h.s.Main.Stage != StageCanary || !strings.Contains(h.seen.last.Sentence, "a small site") {
			t.Errorf("%s: %s", h.s.Main.Stage, h.seen.last.Sentence)
		}
	})
	t.Run("accept makes undeclared blocks declared", func(t *testing.T) {
		more := w
		more.declared = 0.06
		h := ends(t, more, StageHeld, GateIntent)
		h.seen.ended = 0
		h.ask(t, Command{Verb: VerbAccept, ID: ownTry, Share: 0.06, Reason: "they are scrapers"})
		if fault := h.run(1000); fault != "" || h.seen.ended != StageDone {
			t.Errorf("%s, ended %s: %s", fault, h.seen.ended, h.seen.last.Sentence)
		}
	})
	t.Run("--stage shadow stops there", func(t *testing.T) {
		stop := w
		stop.change.Stop = true
		h := newHost(stop, firstSeed)
		h.until(t, StageShadow)
		h.looks(t, 200)
		if h.s.Main.Stage != StageShadow || h.s.Main.Waits != waitPerson {
			t.Errorf("%s waits for %s", h.s.Main.Stage, h.s.Main.Waits)
		}
	})
	t.Run("--replace supersedes, and is no rollback", func(t *testing.T) {
		h := newHost(w, firstSeed)
		h.until(t, StageCanary)
		h.ask(t, Command{Verb: VerbApply, Change: Change{ID: "r2", Name: "base", Digest: digest(2), Replace: true}})
		if h.seen.ended != StageWithdrawn || h.s.Main.Change.ID != "r2" || len(h.s.Backs) > 0 || len(h.s.Quarantine) > 0 {
			t.Errorf("ended %s, runs %s, %v", h.seen.ended, h.s.Main.Change.ID, h.s.Quarantine)
		}
	})
	t.Run("--confirm goes back unless confirmed", func(t *testing.T) {
		c := w
		c.change.Confirm = 5 * time.Minute
		ends(t, c, StageTakenBack, GateConfirm)
		h := newHost(c, firstSeed)
		h.until(t, StageBake)
		h.ask(t, Command{Verb: VerbConfirm, ID: ownTry})
		if fault := h.run(1000); fault != "" || h.seen.ended != StageDone {
			t.Errorf("%s, ended %s", fault, h.seen.ended)
		}
	})
	t.Run("more than the host allows is refused at once", func(t *testing.T) {
		h := newHost(plain(bundle(0.6, meant)), firstSeed)
		h.looks(t, 1)
		if h.seen.ended != StageRefused || len(h.s.Quarantine) > 0 {
			t.Errorf("ended %s: %s", h.seen.ended, h.seen.last.Sentence)
		}
	})
}

// Time counts when the bundle decided at both ends of it: after a bypass, the look that sees its end knows of no time
// before.
func TestTimeCountsBetweenTwoLooksThatDecide(t *testing.T) {
	h := newHost(plain(bundle(0)), firstSeed)
	h.until(t, StageCanary)
	h.looks(t, 2)
	judged := h.s.Main.Times.Judged
	h.idleTill = 1 << 62
	h.looks(t, 5)
	h.idleTill = 0
	h.looks(t, 1)
	if got := h.s.Main.Times.Judged; got != judged {
		t.Errorf("%s of a bypass counted", got-judged)
	}
	if h.looks(t, 1); h.s.Main.Times.Judged <= judged {
		t.Error("time after a bypass does not count")
	}
}

// How long it takes until a rollout is done is told where it can be known, in each stage: it goes down, and comes true.
func TestRestOfARollout(t *testing.T) {
	h := newHost(plain(bundle(0)), firstSeed)
	said := map[Stage][]time.Duration{}
	for h.seen.ended == 0 {
		h.looks(t, 1)
		if rest, known := h.s.Main.Rest(h.s.Guards); known {
			said[h.s.Main.Stage] = append(said[h.s.Main.Stage], h.now+rest)
		}
	}
	for _, stage := range []Stage{StageShadow, StageCanary, StageBake} {
		if len(said[stage]) == 0 {
			t.Errorf("%s: never told", stage)
			continue
		}
		if last := said[stage][len(said[stage])-1]; last < h.now/2 || last > 2*h.now {
			t.Errorf("%s: at the end it said %s, and it was done at %s", stage, last, h.now)
		}
	}
}
