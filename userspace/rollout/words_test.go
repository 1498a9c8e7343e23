// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"strings"
	"testing"
	"time"
)

// Time that does not count is not told as if it passed: a host that lets everything pass, and one without traffic, say
// so, and nobody knows how long that takes.
func TestWaitsSayWhyTimeDoesNotCount(t *testing.T) {
	for _, c := range []struct {
		stop  func(*host)
		stage Stage
		want  string
	}{
		{func(h *host) { h.idleTill = 1 << 62 }, StageCanary, waitDecides},
		{func(h *host) { h.idleTill = 1 << 62 }, StageBake, waitDecides},
		{func(h *host) { h.rate = 0 }, StageShadow, waitTraffic},
		{func(h *host) { h.rate = 0 }, StageCanary, waitTraffic},
		{func(h *host) { h.rate = 0 }, StageBake, waitTraffic},
	} {
		h := newHost(plain(bundle(0)), firstSeed)
		h.until(t, c.stage)
		c.stop(h)
		h.looks(t, 70)
		m := h.s.Main
		_, known := m.left(h.s.Guards)
		if m.Stage != c.stage || m.Waits != c.want || known {
			t.Errorf("in %s it waits for %q, time left known: %t; want %q", m.Stage, m.Waits, known, c.want)
		}
	}
}

// A sentence names a rule as its bundle does. What is no single rule is not called one.
func TestSubjectsOfSentences(t *testing.T) {
	for want, b := range map[string]Blame{
		"Rule `chrome: ja4 t13d…` (label browser)": {Rule: 12, Label: "browser", What: "chrome: ja4 t13d…"},
		"Rule `chrome`":                     {Rule: 12, What: "chrome"},
		"Several rules together":            {Rule: -2, Label: "x", What: "several rules together"},
		"What is no rule (fragments: drop)": {Rule: -1, What: "what is no rule (fragments: drop)"},
	} {
		if got := b.subject(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for want, d := range map[string]time.Duration{"10m": 10 * time.Minute, "24h": 24 * time.Hour,
		"1h30m": 90 * time.Minute, "10s": 10 * time.Second, "1m30s": 90 * time.Second, "100h": 100 * time.Hour} {
		if got := span(d); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// Of several undeclared rules the worst is named, and how many more there are; what is declared is none of them.
func TestBlameSaysHowManyRules(t *testing.T) {
	r := Run{Stage: StageShadow, Number: 3, Tally: Tally{Generation: 3, Last: Counts{Pairs: 1000, Undeclared: 300}},
		Change: Change{ID: "1", Expects: Intent{NewBlocks: 0.1, By: []string{"meant"}}}}
	e := Evidence{Main: Votes{Generation: 3, Pairs: 1000, NewBlocks: []Blame{
		{Rule: 0, Label: "meant", What: "a", Votes: 90}, {Rule: 1, Label: "b", What: "b", Votes: 200},
		{Rule: 2, Label: "c", What: "c", Votes: 100}}}}
	turn := &turn{s: State{Guards: Defaults(), Main: r}, e: &e}
	d := judgeOf(turn).undeclared(&turn.s.Main)
	if want := "Rule `b` (label b) and 1 more rule newly block"; d == nil ||
		!strings.HasPrefix(strings.Replace(d.Sentence, "would ", "", 1), want) || !strings.Contains(d.Sentence, "would") {
		t.Errorf("%+v", d)
	}
	turn.s.Main.Stage = StageBake
	if d := judgeOf(turn).undeclared(&turn.s.Main); d == nil || strings.Contains(d.Sentence, "would") {
		t.Errorf("in a bake it blocks: %+v", d)
	}
	turn.s.Main.Stage, turn.s.Main.Tally.Last = StageShadow, Counts{Pairs: 1000, Declared: 300}
	d = judgeOf(turn).declared(&turn.s.Main)
	if d == nil || !strings.HasPrefix(d.Sentence, "Rule `a` (label meant) would") {
		t.Errorf("more than was declared: %+v", d)
	}
}

// Each decision about a canary that has another side carries both; at 100 %, and elsewhere, there is none.
func TestDecisionsHaveTheSidesOfTheirCanary(t *testing.T) {
	h := newHost(plain(bundle(0)), firstSeed)
	seen := map[bool]int{}
	h.until(t, StageShadow)
	for h.s.Main.Stage.runs() {
		before := h.s.Main
		h.looks(t, 1)
		d := h.seen.last
		if d.At != h.s.Clock || d.From != before.Stage {
			continue
		}
		two := before.Stage == StageCanary && before.share(h.s.Guards) < 1000
		if (d.Sides != nil) != two || two && d.Sides.Canary.Sources == 0 {
			t.Errorf("%s: sides %+v", d.Sentence, d.Sides)
		}
		seen[two]++
	}
	if seen[true] < 2 || seen[false] < 2 {
		t.Errorf("decisions seen: %v", seen)
	}
}
