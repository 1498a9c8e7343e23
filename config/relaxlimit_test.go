// SPDX-License-Identifier: Apache-2.0

package config

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Each row is a change of a limit and whether it can only let more pass.
func TestRelaxesOfLimits(t *testing.T) {
	const from = "limit: 50, drop: 80, rate: {connections: 30/m, burst: 20, by: source, over: drop, shared: 4}"
	bundle := rulesAB + own + "policy: {default: {" + from + "}}\n"
	for _, c := range []struct {
		name, from, to string
		want           bool
	}{
		{"nothing", "", "", true},
		{"a tag", "limit: 50", "limit: 50, tag: 10", true},
		{"lower", "limit: 50", "limit: 49", false},
		{"higher", "limit: 50", "limit: 51", true},
		{"none", from, "drop: 80", true},
		{"none, and drop in its place", from, "drop: 50", false},
		{"drop later, and what it dropped uses up the rate", "drop: 80", "drop: 90", false},
		{"drop earlier", "drop: 80", "drop: 70", false},
		{"faster", "30/m", "1/s", true},
		{"slower", "30/m", "29/m", false},
		{"the same rate in another time", "30/m", "1800/h", true},
		{"a larger burst", "burst: 20", "burst: 21", true},
		{"a smaller burst", "burst: 20", "burst: 19", false},
		{"another key", "by: source", "by: source+fingerprint", false},
		{"resets", "over: drop", "over: reset", false},
		{"more shared", "shared: 4", "shared: 5", true},
		{"less shared", "shared: 4", "shared: 3", false},
		{"in the place of a drop", from, "limit: 80, drop: 90, rate: {connections: 30/m}", false},
		{"where there was none", from, "limit: 79, drop: 90, rate: {connections: 1/h}", false},
	} {
		old, new := setOf(t, bundle), setOf(t, strings.Replace(bundle, c.from, c.to, 1))
		if got := Relaxes(old, new, testNow); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// What a connection meets, the worst last.
const (
	passes = iota
	limited
	blocked
)

type judgement struct {
	harm int
	rate Rate
}

func judged(b *Bundle, c connection, at time.Time) judgement {
	score, allowed := scoreOf(b, c, at)
	p := b.PolicyFor(c.service)
	reaches := func(from Threshold) bool { return from != Never && score >= int(from) }
	switch {
	case allowed:
		return judgement{harm: passes}
	case reaches(p.Drop) || reaches(p.Reset):
		return judgement{harm: blocked}
	case reaches(p.Limit):
		return judgement{harm: limited, rate: p.Rate}
	}
	return judgement{harm: passes}
}

// isStricter looks at everything by itself: it cannot weigh a longer interval against a larger burst.
func isStricter(is, was Rate) bool {
	return is.By != was.By || is.Over == OverReset && was.Over == OverDrop || is.Shared < was.Shared ||
		is.Burst < was.Burst || is.Connections.Per/time.Duration(is.Connections.Count) >
		was.Connections.Per/time.Duration(was.Connections.Count)
}

// randomPolicy has a limit every other time, of a rate that is one of few.
func randomPolicy(rng *rand.Rand) Policy {
	p := Policy{Drop: Threshold(2 + rng.IntN(99))}
	if rng.IntN(2) == 0 {
		return p
	}
	p.Limit = Threshold(1 + rng.IntN(int(p.Drop)-1))
	if rng.IntN(4) == 0 {
		p.Drop = Never
	}
	p.Rate = Rate{Connections: Frequency{uint32(1 + rng.IntN(2)), time.Minute}, Burst: uint32(1 + rng.IntN(2)),
		By: LimitBySource, Over: []Over{OverDrop, OverReset}[rng.IntN(2)], Shared: uint8(1 + rng.IntN(2))}
	return p
}
