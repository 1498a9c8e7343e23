// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// ends runs a world to its end and says how it should have ended.
func ends(t *testing.T, w world, stage Stage, gate Gate) *host {
	t.Helper()
	h := newHost(w, firstSeed)
	h.seen.verbose = true
	if fault := h.run(5000); fault != "" {
		t.Fatal(fault)
	}
	if h.seen.ended != stage || h.seen.gate != gate {
		t.Fatalf("it ended %s by %s, want %s by %s:\n%s", h.seen.ended, h.seen.gate, stage, gate,
			strings.Join(h.seen.said, "\n"))
	}
	return h
}

// An attack that stable and candidate block, 95 % of all connections: nothing trips, because gates look at the
// difference.
func TestAttackThatBothBlockTripsNothing(t *testing.T) {
	w := plain(bundle(0.05, meant))
	w.declared = 0.05 / 20 // of the votes, of which 19 in 20 are the attack's
	h := newHost(w, firstSeed)
	for h.seen.ended == 0 && h.seen.looks < 500 {
		h.e.Main.BothBlock = h.e.Main.Pairs * 95 / 100
		if fault := h.look(); fault != "" {
			t.Fatal(fault)
		}
	}
	if h.seen.ended != StageDone {
		t.Fatalf("it ended %s: %s", h.seen.ended, h.seen.last.Sentence)
	}
}

// An attack that only the candidate blocks, 40 % of the prefixes with real handshakes.
func TestAttackThatOnlyTheCandidateBlocks(t *testing.T) {
	t.Run("declared: enforced", func(t *testing.T) {
		w := plain(bundle(0.4, meant))
		w.declared = 0.4
		h := ends(t, w, StageDone, GateBake)
		if h.k.Stable == 1 {
			t.Error("the bundle is not in force")
		}
	})
	t.Run("undeclared: held, with blame", func(t *testing.T) {
		w := plain(bundle(0))
		w.declared = 0.4
		h := ends(t, w, StageHeld, GateIntent)
		d := h.seen.last
		if len(d.Blame) == 0 || d.Blame[0].Rule != 3 || !strings.Contains(d.Sentence, "t13d0000_scanner") {
			t.Errorf("blame %+v: %s", d.Blame, d.Sentence)
		}
		if len(h.s.Quarantine) != 0 || h.s.Held[0].Change.ID != ownTry || h.k.Candidate != 0 && !undone(h.s, h.k.Candidate) {
			t.Errorf("quarantine %v, held %v, kernel %+v", h.s.Quarantine, h.s.Held, h.k)
		}
	})
	t.Run("declared for 2, blocks 41 %: held, with both numbers", func(t *testing.T) {
		w := plain(bundle(0.02, meant))
		w.declared = 0.41
		h := ends(t, w, StageHeld, GateIntent)
		s := h.seen.last.Sentence
		if !strings.Contains(s, "declared for 2 %") || !strings.Contains(s, "Rule `ja4 t13d0000_scanner` (label scanner) would newly block") {
			t.Error(s)
		}
	})
	for _, class := range []Class{ClassAllowlist, ClassGolden, ClassHealth, ClassCrawler, ClassVouched} {
		t.Run("declared, one "+string(class)+": refused", func(t *testing.T) {
			w := plain(bundle(0.4, meant))
			w.declared = 0.4
			h := newHost(w, firstSeed)
			protect(h, t, class, true, StageShadow)
			d := h.seen.last
			if d.To != StageRefused || d.Gate != GateProtected || d.Hit == nil || d.Hit.Who != "192.0.2.0/24" || !d.Condemns {
				t.Errorf("%+v", d)
			}
			if _, there := h.s.condemned(w.change); !there {
				t.Error("it is not in quarantine")
			}
		})
	}
}

// protect runs a host until a stage, hits one protected source, and looks once.
func protect(h *host, t *testing.T, class Class, confirmed bool, at Stage) {
	t.Helper()
	for h.s.Main.Stage != at || h.s.Main.Times.Stage == 0 {
		if fault := h.look(); fault != "" || h.seen.looks > 500 || h.seen.ended != 0 {
			t.Fatalf("%s: %s", fault, h.seen.last.Sentence)
		}
	}
	hit := Hit{Class: class, Who: "192.0.2.0/24", Confirmed: confirmed, Blame: Blame{Rule: 3, Label: meant, What: "ja4 x"}}
	h.e.Main.Protected = []Hit{hit}
	h.e.Commands = []Command{{Verb: VerbPromote, ID: ownTry, By: "root", Reason: "I know better"}}
	if fault := h.look(); fault != "" {
		t.Fatal(fault)
	}
}

// One protected source ends a rollout in each stage, also when a person promotes in the same look.
func TestOneProtectedSourceEndsEachStage(t *testing.T) {
	for _, at := range []Stage{StageShadow, StageCanary, StageBake} {
		h := newHost(plain(bundle(0)), firstSeed)
		protect(h, t, ClassVouched, true, at)
		want := StageTakenBack
		if at == StageShadow {
			want = StageRefused
		}
		if h.seen.ended != want {
			t.Errorf("%s: it ended %s: %s", at, h.seen.ended, h.seen.last.Sentence)
		}
		if fault := h.look(); fault != "" || h.k.Stable != 1 || h.k.Candidate != 0 {
			t.Errorf("%s: %s, kernel %+v", at, fault, h.k)
		}
	}
}

// A spoofed flood: SYNs with the address of a golden client, a million a look, of what the candidate would block.
func TestSpoofedFloodDoesNothing(t *testing.T) {
	for _, at := range []Stage{StageShadow, StageCanary, StageBake} {
		h := newHost(plain(bundle(0)), firstSeed)
		for h.seen.ended == 0 && h.seen.looks < 500 {
			h.e.Main.Unconfirmed += 1_000_000
			if h.s.Main.Stage == at {
				h.e.Main.Protected = []Hit{{Class: ClassGolden, Who: "198.51.100.7", Blame: Blame{Rule: 3}}}
			}
			if fault := h.look(); fault != "" {
				t.Fatal(fault)
			}
		}
		if h.seen.ended != StageDone {
			t.Errorf("%s: it ended %s: %s", at, h.seen.ended, h.seen.last.Sentence)
		}
	}
}

// A botnet with real handshakes, against the bundle that is aimed at it. It is a twentieth of the prefixes.
func TestBotnetCannotVeto(t *testing.T) {
	w := plain(bundle(0.05, meant))
	w.declared = 0.05
	t.Run("by coming more often", func(t *testing.T) {
		h := newHost(w, firstSeed)
		for h.seen.ended == 0 && h.seen.looks < 500 {
			h.e.Main.Connections += 1_000_000 // a prefix is one vote in 24 hours, however often it comes
			if fault := h.look(); fault != "" {
				t.Fatal(fault)
			}
		}
		if h.seen.ended != StageDone {
			t.Errorf("it ended %s: %s", h.seen.ended, h.seen.last.Sentence)
		}
	})
	t.Run("by growing after shadow", func(t *testing.T) {
		h := newHost(w, firstSeed)
		for h.s.Main.Stage != StageBake {
			if fault := h.look(); fault != "" || h.seen.looks > 500 {
				t.Fatal(fault, h.seen.last.Sentence)
			}
		}
		h.declared = 0.6
		for range 60 {
			if fault := h.look(); fault != "" || h.seen.ended != 0 {
				t.Fatalf("%s it ended %s: %s", fault, h.seen.ended, h.seen.last.Sentence)
			}
		}
		if h.s.Main.Waits != waitDeclared || h.owner[h.k.Stable] != ownTry {
			t.Errorf("it waits for %q, kernel %+v: it should stay in force and not be last-known-good", h.s.Main.Waits, h.k)
		}
		h.declared = 0.01
		for h.seen.ended == 0 && h.seen.looks < 3000 {
			if fault := h.look(); fault != "" {
				t.Fatal(fault)
			}
		}
		if h.seen.ended != StageDone {
			t.Errorf("after the attack it ended %s: %s", h.seen.ended, h.seen.last.Sentence)
		}
	})
}

// A bundle that blocks exactly one real browser, 3 % of the visitors, beside what it means: caught in shadow, and
// named.
func TestOneRealBrowserIsNamed(t *testing.T) {
	w := plain(bundle(0.06, meant))
	w.declared, w.undeclared = 0.06, 0.03
	h := ends(t, w, StageHeld, GateIntent)
	d := h.seen.last
	if d.Blame[0].Rule != 12 || !strings.Contains(d.Sentence, "t13d1516h2_browser") || len(d.Looks) != 1 {
		t.Errorf("%+v", d)
	}
	if h.seen.canary != 0 {
		t.Errorf("%d flows were in a canary", h.seen.canary)
	}
}

// A bundle that blocks everything at a canary of 5 %: how many flows of the canary until it is taken back. A look a
// second.
func TestA14BlocksEverythingCostsFewFlows(t *testing.T) {
	n := 400
	var flows []int64
	for i := range n {
		w := plain(bundle(0))
		w.guards.Shadow, w.guards.Lease = 10*time.Second, 5*time.Second
		w.guards.Steps = []CanaryStep{{50, time.Minute}, {1000, time.Minute}}
		w.tick, w.rate, w.canaryFail, w.cluster = time.Second, 20, 1, 1
		w.guards.Evidence = LevelSmall
		h := newHost(w, firstSeed+uint64(i))
		if fault := h.run(2000); fault != "" {
			t.Fatal(fault)
		}
		if h.seen.ended != StageTakenBack {
			t.Fatalf("seed %d: it ended %s: %s", firstSeed+uint64(i), h.seen.ended, h.seen.last.Sentence)
		}
		flows = append(flows, h.seen.canary)
	}
	slices.Sort(flows)
	t.Logf("flows of the canary: median %d, 95th percentile %d, most %d", flows[n/2], flows[n*95/100], flows[n-1])
	if flows[n/2] > 10 {
		t.Errorf("the median is %d flows, at most 10 may be", flows[n/2])
	}
}
