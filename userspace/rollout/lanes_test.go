// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"testing"
	"time"
)

func feed(id string, kind Kind) Change {
	return Change{ID: id, Name: "feed", Digest: digest(int(id[1])), Kind: kind, Delta: Delta{Rows: 0.01},
		Expects: Intent{NewBlocks: 0.05, By: []string{meant}}}
}

// until2 looks until the fast track is empty and nothing waits for it.
func (h *host) settle(t *testing.T) {
	t.Helper()
	for n := 0; h.s.Fast.Stage.runs() || len(h.s.Queue) > 0; n++ {
		if h.looks(t, 1); n > 200 {
			t.Fatalf("fast track: %s waits for %s; queue %v", h.s.Fast.Stage, h.s.Fast.Waits, h.s.Queue)
		}
	}
}

// A list update takes the fast track beside a rollout, which is built again on it and keeps its evidence.
func TestListUpdateRebasesARollout(t *testing.T) {
	for _, at := range []Stage{StageShadow, StageCanary} {
		w := plain(bundle(0.05, meant))
		w.declared = 0.05
		h := newHost(w, firstSeed)
		h.until(t, at)
		h.looks(t, 3)
		step, pairs, number := h.s.Main.Step, h.s.Main.Tally.total().Pairs, h.s.Main.Number
		h.ask(t, Command{Verb: VerbApply, Change: feed("f1", KindDelta)})
		h.settle(t)
		h.looks(t, 3)
		m := h.s.Main
		if m.Number == number || m.On != h.k.Stable || h.owner[h.k.Stable] != "f1" {
			t.Errorf("%s: generation %d on %d, kernel %+v", at, m.Number, m.On, h.k)
		}
		if got := m.Tally.total().Pairs; got <= pairs || m.Stage < at || m.Step < step {
			t.Errorf("%s: %d votes became %d, %s step %d", at, pairs, got, m.Stage, m.Step)
		}
		if fault := h.run(1000); fault != "" || h.seen.ended != StageDone {
			t.Fatalf("%s: %s it ended %s: %s", at, fault, h.seen.ended, h.seen.last.Sentence)
		}
		if h.base[h.k.Stable] == 1 {
			t.Errorf("%s: what is stable was built without the list", at)
		}
	}
}

// An hourly feed stops no rollout that needs days, and the rollout stops no feed.
func TestHourlyFeedAndASlowRollout(t *testing.T) {
	w := plain(bundle(0))
	w.rate, w.tick, w.guards.Lease = 0.02, 5*time.Minute, 5*time.Minute // some 1,700 source prefixes a day
	w.guards.Bake = 30 * time.Minute
	h := newHost(w, firstSeed)
	fed, id := 0, 0
	for h.seen.ended == 0 && h.seen.looks < 12*24*20 {
		if h.seen.looks%12 == 11 {
			id++
			c := feed("f1", KindDelta)
			c.ID, c.Digest, c.Expects = "f"+itoa(id), digest(100+id), Intent{}
			h.e.Commands = append(h.e.Commands, Command{Verb: VerbApply, Change: c})
		}
		before := h.s.Fast.Stage
		h.looks(t, 1)
		if before == StageBake && h.s.Fast.Stage == StageNone {
			fed++
		}
		if h.s.Main.Waits == waitFailures || h.s.Main.Waits == waitSources { // a small site: a person goes on
			h.e.Commands = append(h.e.Commands, Command{Verb: VerbPromote, ID: ownTry, By: "root", Reason: "a small site"})
		}
	}
	t.Logf("%d of %d updates in %s; the rollout ended %s", fed, id, h.now, h.seen.ended)
	if h.seen.ended != StageDone || fed < id*3/4 || id < 15 {
		t.Errorf("%d of %d updates, the rollout ended %s waiting for %s", fed, id, h.seen.ended, h.s.Main.Waits)
	}
}

// What lets more pass goes by taste and swap, in minutes, also while another rollout bakes; it goes back with that,
// and comes again.
func TestRelaxationJoinsABake(t *testing.T) {
	h := newHost(plain(bundle(0)), firstSeed)
	h.until(t, StageBake)
	h.ask(t, Command{Verb: VerbApply, Change: feed("f1", KindRelax)})
	h.settle(t)
	h.looks(t, 1)
	if h.owner[h.k.Stable] != "f1" || h.s.Main.Stage != StageBake || h.s.Main.Number != h.k.Stable {
		t.Fatalf("%s, kernel %+v", h.s.Main.Stage, h.k)
	}
	h.undeclared = 0.02
	h.looks(t, 1)
	if h.seen.ended != StageTakenBack {
		t.Fatalf("it ended %s", h.seen.ended)
	}
	h.undeclared = 0
	h.settle(t)
	h.looks(t, 2)
	if h.owner[h.k.Stable] != "f1" || h.base[h.k.Stable] != 1 {
		t.Errorf("what relaxed did not come again: kernel %+v, base %d", h.k, h.base[h.k.Stable])
	}
}

// What a relaxation was built on leaves before anybody saw the relaxation stable: it keeps nothing of that in force.
func TestRelaxationLeavesWithItsBase(t *testing.T) {
	h := newHost(plain(bundle(0)), firstSeed)
	h.until(t, StageBake)
	baking := h.k.Stable
	h.ask(t, Command{Verb: VerbApply, Change: feed("f1", KindRelax)})
	for range 20 {
		if h.s.Fast.Number != 0 && h.k.Stable == h.s.Fast.Number {
			break
		}
		h.looks(t, 1)
	}
	if h.owner[h.k.Stable] != "f1" || h.s.Main.Number != baking {
		t.Fatalf("it was seen already: main %d, kernel %+v", h.s.Main.Number, h.k)
	}
	h.bad.unread = 1
	h.ask(t, Command{Verb: VerbAbort, ID: h.s.Main.Change.ID, By: "root", Reason: "a mistake"})
	h.looks(t, 1)
	h.bad.unread = 0
	h.settle(t)
	h.looks(t, 3)
	if h.owner[h.k.Stable] != "f1" || h.base[h.k.Stable] != 1 || h.s.Main.Stage.runs() {
		t.Errorf("what was aborted is in force: kernel %+v, base %d, main %s", h.k, h.base[h.k.Stable], h.s.Main.Stage)
	}
}

func TestFastTrackHasBounds(t *testing.T) {
	t.Run("too many rows take the long way", func(t *testing.T) {
		h := newHost(plain(bundle(0)), firstSeed)
		c := feed("f1", KindDelta)
		c.Delta.Rows = 0.03
		h.e.Commands = []Command{{Verb: VerbApply, Change: c}}
		h.looks(t, 1)
		if h.s.Main.Change.Kind != KindBundle || h.s.Fast.Stage.runs() {
			t.Errorf("%s runs", h.s.Main.Change.Kind)
		}
	})
	for blocks, bakes := range map[int64]bool{40: true, 400: false} { // of 10,000 votes, where 0.5 % are allowed
		t.Run(itoa(int(blocks))+" votes of ten thousand are newly blocked", func(t *testing.T) {
			h := newHost(plain(bundle(0)), firstSeed)
			h.e.Commands = []Command{{Verb: VerbApply, Change: feed("f1", KindDelta)}}
			h.looks(t, 2)
			if h.s.Fast.Stage != StageShadow {
				t.Fatal(h.s.Fast.Stage)
			}
			baked := false
			for range 20 {
				h.e.Fast = Votes{Generation: h.s.Fast.Number, Connections: 20_000, Pairs: 10_000,
					NewBlocks: []Blame{{Rule: 3, Label: meant}, {Rule: 1, What: "the list", Votes: blocks}}}
				h.looks(t, 1)
				baked = baked || h.s.Fast.Stage == StageBake
			}
			if baked != bakes {
				t.Errorf("it bakes: %v, want %v", baked, bakes)
			}
		})
	}
	t.Run("one protected source refuses", func(t *testing.T) {
		h := newHost(plain(bundle(0)), firstSeed)
		h.e.Commands = []Command{{Verb: VerbApply, Change: feed("f1", KindDelta)}}
		h.looks(t, 2)
		if h.s.Fast.Stage != StageShadow {
			t.Fatal(h.s.Fast.Stage)
		}
		h.looks(t, 1)
		h.e.Fast.Protected = []Hit{{Class: ClassVouched, Who: "2001:db8::/48", Confirmed: true}}
		h.looks(t, 1)
		if _, there := h.s.condemned(feed("f1", KindDelta)); !there || h.k.Stable != 1 {
			t.Errorf("quarantine %v, kernel %+v", h.s.Quarantine, h.k)
		}
	})
	t.Run("changes of one name are one", func(t *testing.T) {
		h := newHost(plain(bundle(0)), firstSeed)
		h.until(t, StageBake)
		for _, id := range []string{"f1", "f2", "f3"} {
			h.ask(t, Command{Verb: VerbApply, Change: feed(id, KindDelta)})
		}
		if len(h.s.Queue) != 1 || h.s.Queue[0].ID != "f3" {
			t.Errorf("%v waits", h.s.Queue)
		}
	})
}

func TestEmergency(t *testing.T) {
	c := Change{ID: ownTry, Name: "base", Digest: digest(1), Kind: KindEmergency, Reason: "an attack", By: "root"}
	fine := func(c Change) world {
		w := plain(c)
		w.tick, w.guards.Lease = time.Second, 5*time.Second
		return w
	}
	t.Run("everybody within 20 s, through taste and shadow, in front of what runs", func(t *testing.T) {
		w := fine(bundle(0))
		h := newHost(w, firstSeed)
		h.change = c
		c := c
		c.ID, c.Name = "e1", "shield"
		h.until(t, StageShadow)
		h.looks(t, 30)
		asked := h.now
		h.ask(t, Command{Verb: VerbApply, Change: c})
		for h.k.Share != 1000 {
			if h.looks(t, 1); h.now-asked > 20*time.Second {
				t.Fatalf("after 20 s: %s waits for %s", h.s.Main.Stage, h.s.Main.Waits)
			}
		}
		if h.now-asked < quickShadow || len(h.s.Queue) != 1 || h.s.Queue[0].Attempt != 1 {
			t.Errorf("after %s, waiting %v", h.now-asked, h.s.Queue)
		}
	})
	t.Run("of the bundle that runs: done once, or begun again", func(t *testing.T) {
		for _, at := range []Stage{StageShadow, StageBake} {
			for _, good := range []bool{true, false} {
				h := newHost(plain(bundle(0)), firstSeed)
				h.until(t, at)
				h.looks(t, 2)
				e := h.s.Main.Change
				e.ID, e.Kind, e.Reason, e.By = "e1", KindEmergency, "an attack", "root"
				h.ask(t, Command{Verb: VerbApply, Change: e})
				if !good {
					h.until(t, StageCanary)
					h.ask(t, Command{Verb: VerbAbort, ID: "e1", By: "root", Reason: "it is over"})
				}
				ran := false
				for range 3000 {
					h.looks(t, 1)
					ran = ran || h.s.Main.Stage.runs() && h.s.Main.Change.ID == ownTry
					if !h.s.Main.Stage.runs() && len(h.s.Queue) == 0 {
						break
					}
				}
				if ran == good || h.s.Main.Stage.runs() || len(h.s.Queue) > 0 {
					t.Errorf("%s, good %t: began again %t, %s runs, waiting %v", at, good, ran, h.s.Main.Change.ID, h.s.Queue)
				}
			}
		}
	})
	t.Run("a protected source refuses it", func(t *testing.T) {
		h := newHost(fine(c), firstSeed)
		protect(h, t, ClassHealth, true, StageShadow)
		if h.seen.ended != StageRefused {
			t.Errorf("it ended %s", h.seen.ended)
		}
	})
	t.Run("it ends after an hour", func(t *testing.T) {
		w := fine(c)
		w.declared, w.rate = 0.4, 0.05
		h := ends(t, w, StageHeld, GateEmergency)
		h.looks(t, 2)
		if h.k.Share != 0 || h.k.Candidate != 0 || len(h.s.Quarantine) > 0 {
			t.Errorf("kernel %+v", h.k)
		}
		t.Logf("after %s", h.now)
	})
	t.Run("evidence of its hour keeps it", func(t *testing.T) {
		w := fine(c)
		w.declared = 0.4
		ends(t, w, StageDone, GateBake)
	})
}

// What baked when an emergency came stays in force while it waits, and leaves when it is over: it is refused at its
// next try, a person ends it, or it uses up its budget. What came into force on it comes again without it.
func TestWhatStoodLeavesWithItsChange(t *testing.T) {
	for _, above := range []bool{false, true} {
		for _, how := range []string{"refused", "aborted", "rolled back", "over budget"} {
			h := newHost(plain(bundle(0)), firstSeed)
			h.until(t, StageBake)
			h.looks(t, 2)
			baked := h.k.Stable
			e := Change{ID: "e1", Name: "shield", Digest: digest(9), Kind: KindEmergency, Reason: "an attack", By: "root"}
			h.ask(t, Command{Verb: VerbApply, Change: e})
			if h.k.Stable != baked || len(h.s.Queue) != 1 || !h.s.Queue[0].Stood.has(baked) {
				t.Fatalf("stable %d, waiting %+v", h.k.Stable, h.s.Queue)
			}
			if above {
				h.until(t, StageBake)
				h.looks(t, 2)
			}
			switch how {
			case "refused":
				if !above {
					h.ask(t, Command{Verb: VerbAbort, ID: "e1", Reason: "it is over"})
				}
				h.until2(t, func() bool { return h.s.Main.Change.ID == ownTry && len(h.e.Taste) > 0 })
				h.e.Taste = []Taste{{ID: ownTry, Outcome: TasteGolden, Golden: "phone"}}
				h.looks(t, 1)
			case "aborted":
				h.ask(t, Command{Verb: VerbAbort, ID: ownTry, Reason: "a mistake"})
			case "rolled back":
				h.ask(t, Command{Verb: VerbBack, Change: Change{Name: "base"}})
			case "over budget":
				h.k.Tripped = h.k.Stable
				if h.looks(t, 1); h.seen.ended != StageTakenBack || h.seen.gate != GateBudget {
					if !above { // else it is the emergency's budget
						t.Errorf("it ended %s by %s", h.seen.ended, h.seen.gate)
					}
				}
				if h.k.Tripped = 0; above {
					continue
				}
			}
			h.looks(t, 3)
			if in := h.crowd.content[h.k.Stable]; in["base"] != "" {
				t.Errorf("%s, above %t: stable %d has %v", how, above, h.k.Stable, in)
			}
			if how == "refused" && !above {
				continue // the emergency was aborted
			}
			h.until2(t, func() bool { return h.crowd.content[h.k.Stable]["shield"] == "e1" || how == "rolled back" && !above })
			if in := h.crowd.content[h.k.Stable]; in["base"] != "" {
				t.Errorf("%s, above %t: the emergency brought it back: %v", how, above, in)
			}
		}
	}
}

// until2 looks until something is so.
func (h *host) until2(t *testing.T, is func() bool) {
	t.Helper()
	for range 500 {
		if is() {
			return
		}
		h.looks(t, 1)
	}
	t.Fatalf("never; %s of %s, queue %+v, kernel %+v", h.s.Main.Stage, h.s.Main.Change.ID, h.s.Queue, h.k)
}

// One generation bakes at a time: with two, nobody knew which of them did what. A person cannot change that.
func TestOneGenerationBakes(t *testing.T) {
	h := newHost(plain(bundle(0)), firstSeed)
	h.until(t, StageBake)
	h.looks(t, 1)
	h.s.Fast = Run{Change: feed("f1", KindDelta), Stage: StageShadow, Number: 99, On: h.k.Stable, Seen: true}
	h.s.Fast.Times.Stage, h.k.Beside = time.Minute, 99
	h.ask(t, Command{Verb: VerbPromote, ID: "f1", Reason: "in a hurry"})
	h.looks(t, 2)
	if h.s.Fast.Stage != StageShadow || h.s.Fast.Waits != waitBake || h.s.Main.Stage != StageBake {
		t.Errorf("%s waits for %q beside %s", h.s.Fast.Stage, h.s.Fast.Waits, h.s.Main.Stage)
	}
}
