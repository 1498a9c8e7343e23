// SPDX-License-Identifier: Apache-2.0

package sequential

import (
	"math"
	"math/rand/v2"
	"testing"
)

const seed = 20261128

// beta is the same wealth with a Beta(a, b) mixture over all alternatives on both sides: a second opinion, from
// another formula (safety: one formula serves all gates; Robbins 1970).
func beta(k, m, t, a, b float64) float64 {
	g := func(x float64) float64 { v, _ := math.Lgamma(x); return v }
	ln := func(x, y float64) float64 { return g(x) + g(y) - g(x+y) }
	return ln(a+k, b+m-k) - ln(a, b) - k*math.Log(t) - (m-k)*math.Log(1-t)
}

// With votes at exactly the bound, and a look after each, a test rejects in at most alpha of all runs. A z-test,
// looked at as often, rejects in a third of them: a test that could not tell the two apart would prove nothing.
func TestA31ManyLooksRejectAtMostAlpha(t *testing.T) {
	const runs, votes, alpha = 2000, 3000, 0.05
	for _, c := range []struct {
		side  Side
		bound float64
	}{{Above, 0.003}, {Above, 0.0617}, {Above, 0.4}, {Below, 0.003}, {Below, 0.1}, {Either, 0.05}} {
		r := rand.New(rand.NewPCG(seed, uint64(c.bound*1e6)))
		test, rejected, naive := Test{c.side, c.bound, alpha}, 0, 0
		for range runs {
			yes, sequential, z := int64(0), false, false
			for m := int64(1); m <= votes; m++ {
				if r.Float64() < c.bound {
					yes++
				}
				if m%10 != 0 {
					continue
				}
				sequential = sequential || test.Look(yes, m).Rejects()
				sd := math.Sqrt(float64(m) * c.bound * (1 - c.bound))
				z = z || m > 100 && math.Abs(float64(yes)-float64(m)*c.bound) > 1.96*sd
			}
			if sequential {
				rejected++
			}
			if z {
				naive++
			}
		}
		if limit := alpha*runs + 4*math.Sqrt(alpha*runs); float64(rejected) > limit {
			t.Errorf("%v %v: %d of %d runs reject, at most %.0f may", c.side, c.bound, rejected, runs, limit)
		}
		if naive < runs/7 {
			t.Errorf("%v %v: a z-test rejects in %d of %d runs only: these looks prove nothing", c.side, c.bound, naive, runs)
		}
		t.Logf("%v %g: %.2f %% of runs reject at alpha 5 %%; a z-test %.1f %%", c.side, c.bound,
			100*float64(rejected)/runs, 100*float64(naive)/runs)
	}
}

// The rate may move and depend on the past, as long as it stays on its side of the bound: here a vote follows the one
// before where it may.
func TestRateThatMovesWithinItsSide(t *testing.T) {
	const runs, votes, bound, alpha = 1000, 3000, 0.1, 0.05
	r := rand.New(rand.NewPCG(seed, 2))
	rejected := 0
	for range runs {
		yes, last, test := int64(0), false, Test{Above, bound, alpha}
		for m := int64(1); m <= votes; m++ {
			p := 0.02
			if last || m%700 < 100 {
				p = bound
			}
			if last = r.Float64() < p; last {
				yes++
			}
			if test.Look(yes, m).Rejects() {
				rejected++
				break
			}
		}
	}
	if rejected > runs/20 {
		t.Errorf("%d of %d runs reject, at most %d may", rejected, runs, runs/20)
	}
}

func TestAsStrongAsABetaMixture(t *testing.T) {
	for _, c := range []struct {
		k, m  int64
		bound float64
	}{{10, 1000, 0.003}, {6, 8, 0.0617}, {60, 600, 0.0617}, {40, 250, 0.09}, {30, 30, 0.01}} {
		got := Test{Above, c.bound, 0.01}.Look(c.k, c.m).LnE
		want := beta(float64(c.k), float64(c.m), c.bound, 20*c.bound, 20*(1-c.bound))
		if got < want-2.5 {
			t.Errorf("%d of %d above %v: ln E %.2f, a beta mixture has %.2f", c.k, c.m, c.bound, got, want)
		}
	}
	for _, c := range []struct {
		k, m  int64
		bound float64
	}{{0, 5000, 0.001}, {3, 11226, 0.001}, {10, 22749, 0.001}} {
		got := Test{Below, c.bound, 0.05}.Look(c.k, c.m).LnE
		if want := beta(float64(c.k), float64(c.m), c.bound, 1, 1/c.bound); got < want-1 {
			t.Errorf("%d of %d below %v: ln E %.2f, a beta mixture has %.2f", c.k, c.m, c.bound, got, want)
		}
	}
}

func TestNeeded(t *testing.T) {
	for _, c := range []struct {
		test     Test
		yes      int64
		from, to int64
	}{
		{Test{Below, 0.001, 0.05}, 0, 3000, 4742}, // the rule of three; a beta mixture
		{Test{Below, 0.001, 0.05}, 1, 4000, 7205},
		{Test{Below, 0.001, 0.05}, 10, 12000, 22749},
		{Test{Below, 0.01, 0.05}, 0, 300, 472},
		{Test{Above, 0.0617, 0.001}, 0, 3, 5},
	} {
		n := c.test.Needed(c.yes)
		t.Logf("%v %v with %d yes: %d votes", c.test.Side, c.test.Bound, c.yes, n)
		if n < c.from || n > c.to {
			t.Errorf("%+v with %d yes: %d votes, want %d to %d", c.test, c.yes, n, c.from, c.to)
		}
		if c.test.Side == Below && (c.test.Look(c.yes, n-1).Rejects() || !c.test.Look(c.yes, n).Rejects()) {
			t.Errorf("%+v: %d votes are not the first that are enough", c.test, n)
		}
	}
	if n := (Test{Below, 0.01, 0.05}).NeededAt(0.02); n != mostVotes {
		t.Errorf("a rate above the bound needs %d votes, want no number", n)
	}
}

// The intervals of one run all hold the true rate, in at least 1-alpha of the runs.
func TestIntervalsHoldTheRate(t *testing.T) {
	const runs, alpha = 300, 0.05
	r := rand.New(rand.NewPCG(seed, 3))
	missed := 0
	for range runs {
		rate, yes := r.Float64()*0.3+0.001, int64(0)
		for m := int64(1); m <= 1000; m++ {
			if r.Float64() < rate {
				yes++
			}
			if low, high := 0.0, 1.0; m%50 == 0 {
				if low, high = Interval(yes, m, alpha); rate < low || rate > high {
					missed++
					break
				}
			}
		}
	}
	if missed > runs/20 {
		t.Errorf("%d of %d runs missed the rate", missed, runs)
	}
}

func TestNumbersThatCannotBeShowNothing(t *testing.T) {
	for _, c := range []struct {
		bound      float64
		yes, votes int64
	}{{0.1, 5, 3}, {0.1, -1, 3}, {0, 3, 3}, {1, 0, 9}, {math.NaN(), 9, 9}, {0.1, 0, 0}, {0.1, 0, -5}} {
		for side := Above; side <= Either; side++ {
			if l := (Test{side, c.bound, 0.01}).Look(c.yes, c.votes); l.Rejects() || l.LnE != 0 {
				t.Errorf("%d of %d, bound %v: %v", c.yes, c.votes, c.bound, l)
			}
		}
	}
}

func BenchmarkLook(b *testing.B) {
	for b.Loop() {
		Test{Above, 0.003, 0.001}.Look(7, 2000)
	}
}
