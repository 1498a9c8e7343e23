// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/rollout/sequential"
)

func TestTaste(t *testing.T) {
	for _, c := range []struct {
		outcome  TasteEnd
		ends     Stage
		gate     Gate
		condemns bool
	}{
		{TasteCrashed, StageRefused, GateTaste, true},
		{TasteHung, StageRefused, GateTaste, true},
		{TasteWrong, StageRefused, GateTaste, true},
		{TasteGolden, StageRefused, GateProtected, true},
		{TasteFailed, StageHeld, GateTaste, false},
	} {
		h := newHost(plain(bundle(0)), firstSeed)
		h.looks(t, 1)
		for range tasteTries {
			h.e.Taste = []Taste{{ID: ownTry, Outcome: c.outcome, Golden: "firefox", Detail: "no memory"}}
			h.looks(t, 1)
		}
		if _, there := h.s.condemned(h.change); h.seen.ended != c.ends || h.seen.gate != c.gate || there != c.condemns {
			t.Errorf("%d: it ended %s by %s, condemned %t", c.outcome, h.seen.ended, h.seen.gate, there)
		}
	}
}

// A generation that was built on what is stable no more is built again: it would undo what came between.
func TestBuiltOnAnotherBaseIsNotTaken(t *testing.T) {
	h := newHost(plain(bundle(0)), firstSeed)
	h.looks(t, 1)
	h.e.Taste = []Taste{{ID: ownTry, Number: 77, Base: 66}}
	if h.looks(t, 1); h.s.Main.Number != 0 {
		t.Errorf("generation %d was taken", h.s.Main.Number)
	}
}

// A lapse is held, resumable from shadow with another salt, and condemns nothing: a machine was paused.
func TestLapseIsHeld(t *testing.T) {
	h := newHost(plain(bundle(0)), firstSeed)
	h.until(t, StageCanary)
	h.now += time.Hour
	h.looks(t, 1)
	condemned := len(h.s.Quarantine) > 0 || len(h.s.Backs) > 0
	if h.seen.ended != StageHeld || h.seen.gate != GateLease || condemned || h.k.Share != 0 {
		t.Fatalf("it ended %s by %s, kernel %+v", h.seen.ended, h.seen.gate, h.k)
	}
	h.seen.ended = 0
	h.ask(t, Command{Verb: VerbResume, ID: ownTry, Reason: "the machine is back"})
	h.until(t, StageShadow)
	if h.s.Main.Change.Attempt != 1 {
		t.Errorf("attempt %d", h.s.Main.Change.Attempt)
	}
	if fault := h.run(1000); fault != "" || h.seen.ended != StageDone {
		t.Errorf("%s it ended %s", fault, h.seen.ended)
	}
}

// In shadow nobody depends on the lease, and an agent that was away goes on.
func TestAPauseInShadowCostsNothing(t *testing.T) {
	h := newHost(plain(bundle(0)), firstSeed)
	h.until(t, StageShadow)
	before := h.s.Main.Times.Judged
	h.now += time.Hour
	h.looks(t, 1)
	if h.s.Main.Stage != StageShadow || h.s.Main.Times.Judged > before+h.guards.Lease {
		t.Errorf("%s, %s judged", h.s.Main.Stage, h.s.Main.Times.Judged)
	}
}

// A bake counts only while there is traffic and the bundle decides.
func TestBakeWithoutTrafficProvesNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		stop func(*host)
	}{
		{"no traffic", func(h *host) { h.rate = 0 }},
		{"no interface, a bypass, observe", func(h *host) { h.idleTill = 1 << 62 }},
		{"the kernel cannot be read", func(h *host) { h.bad.unread = 1 }},
	} {
		h := newHost(plain(bundle(0)), firstSeed)
		h.until(t, StageBake)
		c.stop(h)
		h.looks(t, 500)
		if h.seen.ended != 0 || h.s.Main.Stage != StageBake {
			t.Errorf("%s: it ended %s", c.name, h.seen.ended)
		}
	}
}

func TestTripTakesBack(t *testing.T) {
	h := newHost(plain(bundle(0)), firstSeed)
	h.until(t, StageBake)
	h.k.Tripped = h.s.Main.Number
	h.looks(t, 2)
	if h.seen.ended != StageTakenBack || h.seen.gate != GateBudget || h.k.Stable != 1 {
		t.Errorf("it ended %s by %s, kernel %+v", h.seen.ended, h.seen.gate, h.k)
	}
	if h.ask(t, Command{Verb: VerbApply, Change: h.change}); h.seen.gate != GateQuarant {
		t.Errorf("what is in quarantine came again: %s", h.seen.last.Sentence)
	}
	again := h.change
	again.Thaw = "the rule is gone upstream"
	if h.ask(t, Command{Verb: VerbApply, Change: again}); !h.s.Main.Stage.runs() {
		t.Error("a person with a reason did not pass")
	}
}

// Two rollouts taken back within an hour freeze; a relaxation and an emergency still go.
func TestTwoTakenBackFreeze(t *testing.T) {
	h := newHost(plain(bundle(0)), firstSeed)
	for i := range 2 {
		if i > 0 {
			h.ask(t, Command{Verb: VerbApply, Change: Change{ID: ownTry, Name: "base", Digest: digest(9)}})
			h.seen.ended = 0
		}
		h.until(t, StageShadow)
		h.ask(t, Command{Verb: VerbPromote, ID: ownTry, Reason: "in a hurry"})
		h.until(t, StageCanary)
		h.k.Tripped = h.s.Main.Number
		h.looks(t, 1)
	}
	if h.s.Frozen == "" {
		t.Fatal("not frozen")
	}
	h.ask(t, Command{Verb: VerbApply, Change: Change{ID: "r5", Name: "base", Digest: digest(5)}})
	h.ask(t, Command{Verb: VerbApply, Change: feed("f1", KindRelax)})
	h.looks(t, 2)
	if h.s.Main.Stage.runs() || h.owner[h.k.Stable] != "f1" {
		t.Errorf("%s runs, kernel %+v", h.s.Main.Change.ID, h.k)
	}
	h.ask(t, Command{Verb: VerbThaw, Reason: "mended"})
	if h.s.Main.Change.ID != "r5" {
		t.Error("it does not go on after the thaw")
	}
}

// The canary gets 7 % where it should get 5.
func TestA30BrokenSplitIsHeld(t *testing.T) {
	w := plain(bundle(0))
	w.skew = 1.4
	h := ends(t, w, StageHeld, GateRatio)
	if len(h.s.Quarantine) > 0 {
		t.Error("a broken split condemned the bundle")
	}
}

func TestHealth(t *testing.T) {
	ill := Health{Known: true, Bad: true, What: "5xx", Value: 0.2, Limit: 0.01}
	for _, c := range []struct {
		name   string
		rule   HealthRule
		health Health
		ends   Stage
	}{
		{"no data waits", HealthBack, Health{}, StageNone},
		{"no data, and nobody asks", HealthOff, Health{}, StageDone},
		{"well goes on", HealthBack, Health{Known: true}, StageDone},
		{"ill waits", HealthWait, ill, StageNone},
		{"ill is held", HealthBack, ill, StageHeld},
	} {
		w := plain(bundle(0))
		w.guards.Health = c.rule
		h := newHost(w, firstSeed)
		h.e.Health = Health{Known: true}
		h.until(t, StageCanary)
		h.e.Health = c.health
		h.looks(t, 300)
		if h.seen.ended != c.ends || len(h.s.Quarantine) > 0 {
			t.Errorf("%s: it ended %s, quarantine %v", c.name, h.seen.ended, h.s.Quarantine)
		}
	}
}

// Without sources a canary is held after a day, and shadow after its time.
func TestWithoutEvidenceItIsHeld(t *testing.T) {
	w := plain(bundle(0))
	w.rate, w.failing, w.canaryFail = 60, 0.02, 0.02
	h := newHost(w, firstSeed)
	h.until(t, StageCanary)
	h.rate = 0
	if fault := h.run(3000); fault != "" || h.seen.ended != StageHeld || h.seen.gate != GateTime {
		t.Errorf("%s it ended %s by %s", fault, h.seen.ended, h.seen.gate)
	}
}

// A site of 190 source prefixes a day: told before the start; time alone promotes where the host allows it.
func TestSmallSite(t *testing.T) {
	small := Traffic{VotesADay: 190, NewADay: 60, Failing: 0.02}
	e := Defaults().Estimate(small)
	t.Log(e.Sentence)
	if shadow := e.Parts[0]; shadow.Takes < 5*24*time.Hour || shadow.Takes > 10*24*time.Hour || !e.Never {
		t.Errorf("%+v", e)
	}
	g := Defaults()
	g.TimeOnlyBelow = 1000
	if e := g.Estimate(small); e.Never || e.Total > 6*24*time.Hour {
		t.Errorf("%+v", e)
	}
	if e := Defaults().Estimate(Traffic{VotesADay: 3e6, NewADay: 3e6, Failing: 0.02}); e.Never || e.Total > 4*time.Hour {
		t.Errorf("%+v", e)
	}
	w := plain(bundle(0))
	w.guards.TimeOnlyBelow, w.rate = 1000, 190.0/86400
	h := newHost(w, firstSeed)
	if fault := h.run(60 * 24 * 30); fault != "" || h.seen.ended != StageDone {
		t.Errorf("%s it ended %s by %s after %s: %s", fault, h.seen.ended, h.seen.gate, h.now, h.seen.last.Sentence)
	}
}

// All chances of a false alarm in one rollout add up to less than 1 %, however many steps its canary has.
func TestAlphaIsSpentOnce(t *testing.T) {
	for n := 1; n < 20; n++ {
		g := Guards{Steps: make([]CanaryStep, n)}
		sum := alphaShadow + alphaDeclared + alphaBake
		for range n {
			sum += g.each(alphaSteps) + g.each(alphaArms) + g.each(alphaRatio)
		}
		if sum > 0.01 {
			t.Errorf("%d steps: %.4f", n, sum)
		}
	}
}

// Sources that fail in every window, and together: 4,000 prefixes in clusters of 200, a twentieth of which always
// fails. Who counted each failure anew would see the same draw again and again; who counts a prefix once does not.
func TestStickySourcesDoNotFoolTheArms(t *testing.T) {
	const draws, prefixes, windows = 400, 4000, 30
	once, often := 0, 0
	test := sequential.Test{Side: sequential.Above, Bound: sequential.Tilted(0.05, tolerated), Alpha: 0.01}
	for d := range draws {
		r := rand.New(rand.NewPCG(firstSeed, uint64(d)))
		var k, m, everyK, everyM int64
		for cluster := range prefixes / 200 {
			if cluster%20 != d%20 {
				continue
			}
			for range 10 { // of the cluster's 200, those that fail
				inCanary := r.Float64() < 0.05
				m, everyM = m+1, everyM+windows
				if inCanary {
					k, everyK = k+1, everyK+windows
				}
			}
		}
		if test.Look(k, m).Rejects() {
			once++
		}
		if test.Look(everyK, everyM).Rejects() {
			often++
		}
	}
	t.Logf("false alarms of %d: %d with one vote a source, %d with one a source and window", draws, once, often)
	if once > draws/100 || often < draws/20 {
		t.Errorf("%d and %d false alarms of %d", once, often, draws)
	}
}

func TestThirdCrash(t *testing.T) {
	current, previous := digest(1), digest(2)
	b, d := Boot{}, (*Decision)(nil)
	for range 3 {
		if b, d = b.Start(current, previous); d != nil || b.Load != LoadCurrent {
			t.Fatalf("%+v %+v", b, d)
		}
	}
	if b, d = b.Start(current, previous); d == nil || d.Digest != current || !d.Condemns || b.Load != LoadPrevious {
		t.Fatalf("%+v %+v", b, d)
	}
	if !strings.Contains(d.Sentence, "previous") {
		t.Error(d.Sentence)
	}
	for range 2 {
		if b, d = b.Start(current, previous); d != nil || b.Load != LoadPrevious {
			t.Fatalf("%+v %+v", b, d)
		}
	}
	if b, d = b.Start(current, previous); d == nil || d.Digest != previous || b.Load != LoadEmpty {
		t.Fatalf("%+v %+v", b, d)
	}
	if b, d = b.Start(current, previous); d != nil || b.Load != LoadEmpty {
		t.Fatalf("%+v %+v", b, d)
	}
	b, _ = Boot{}.Start(current, previous)
	b, _ = b.Settled().Start(current, previous)
	b, _ = b.Settled().Start(current, previous)
	if b, d = b.Settled().Start(current, previous); d != nil || b.Starts != 1 {
		t.Errorf("starts that settled count: %+v", b)
	}
}

// Votes of a generation that is not the candidate's count for nothing: what the kernel still says of the one before.
func TestOtherGenerationsCountForNothing(t *testing.T) {
	h := newHost(plain(bundle(0)), firstSeed)
	h.until(t, StageShadow)
	before := h.s.Main.Tally.total()
	e := h.e
	e.Kernel = h.k
	e.Main = Votes{Generation: h.s.Main.Number + 1, Pairs: 1e9, Connections: 1e9,
		NewBlocks: []Blame{{Rule: 12, Label: wrong, Votes: 1e8}}, Protected: []Hit{{Class: ClassGolden, Confirmed: true}}}
	s, _ := Step(h.s, e, h.now+time.Minute)
	if s.Main.Stage != StageShadow || s.Main.Tally.total() != before {
		t.Errorf("%s, %+v", s.Main.Stage, s.Main.Tally)
	}
}

// Shadow waits for votes, however long it takes.
func TestA29ShadowWaitsForVotes(t *testing.T) {
	w := plain(bundle(0))
	w.rate = 0.02 // 1,219 votes take 17 hours
	h := newHost(w, firstSeed)
	h.looks(t, 900)
	if h.s.Main.Stage != StageShadow || h.s.Main.Waits != waitVotes {
		t.Errorf("%s waits for %s after %d votes", h.s.Main.Stage, h.s.Main.Waits, h.s.Main.counts().Pairs)
	}
	if !strings.Contains(h.s.Main.Status(h.guards), "left in this stage") {
		t.Error(h.s.Main.Status(h.guards))
	}
}

// The order to change the share fails for a while: sources that were drawn with the old share are not judged by the
// new one.
func TestShareThatComesLate(t *testing.T) {
	h := newHost(plain(bundle(0)), firstSeed)
	h.until(t, StageCanary)
	for h.s.Main.Step == 0 {
		h.looks(t, 1)
	}
	h.bad.action = 0
	for range 10 { // the share stays at 1 %
		h.k.Share = 10
		h.looks(t, 1)
	}
	if h.seen.ended != 0 || h.s.Main.Step != 1 {
		t.Fatalf("it ended %s: %s", h.seen.ended, h.seen.last.Sentence)
	}
	if fault := h.run(1000); fault != "" || h.seen.ended != StageDone {
		t.Errorf("%s it ended %s: %s", fault, h.seen.ended, h.seen.last.Sentence)
	}
}

// A reboot, and a clock that is set: no time passes, and none is given back.
func TestClockThatBeginsAnew(t *testing.T) {
	h := newHost(plain(bundle(0)), firstSeed)
	h.until(t, StageShadow)
	clock, judged := h.s.Clock, h.s.Main.Times.Judged
	s, _ := Step(h.s, Evidence{}, 0)
	if s.Clock != clock || s.Main.Times.Judged != judged {
		t.Errorf("clock %s became %s, judged %s %s", clock, s.Clock, judged, s.Main.Times.Judged)
	}
	if s, _ = Step(s, Evidence{}, 5*time.Second); s.Clock != clock+5*time.Second {
		t.Errorf("clock %s", s.Clock-clock)
	}
}

// The numbers of the example in docs/ROLLOUT.md.
func TestTheExampleOfThePage(t *testing.T) {
	delta := sizes[LevelNormal].delta
	above := sequential.Test{Side: sequential.Above, Bound: delta, Alpha: alphaShadow}
	arms := Defaults().each(alphaArms)
	for _, c := range []struct {
		test       sequential.Test
		yes, votes int64
		want       string
		rejects    bool
	}{
		{sequential.Test{Side: sequential.Below, Bound: delta, Alpha: betaAccept}, 0, 1500, "ln E 3.76 of 3.00", true},
		{above, 15, 1500, "ln E 5.74 of 6.91", false},
		{above, 17, 1550, "ln E 7.74 of 6.91", true},
		{sequential.Test{Side: sequential.Below, Bound: sequential.Tilted(0.05, 2), Alpha: betaAccept}, 15,
			300, "ln E 2.84", false},
		{sequential.Test{Side: sequential.Below, Bound: sequential.Tilted(0.05, 2), Alpha: betaAccept}, 16,
			320, "ln E 3.09", true},
		{sequential.Test{Side: sequential.Above, Bound: sequential.Tilted(0.05, tolerated), Alpha: arms}, 4, 4,
			"ln E 9.49 of 7.20", true},
	} {
		if l := c.test.Look(c.yes, c.votes); !strings.Contains(l.String(), c.want) || l.Rejects() != c.rejects {
			t.Errorf("%s, the page says %s", l, c.want)
		}
	}
}
