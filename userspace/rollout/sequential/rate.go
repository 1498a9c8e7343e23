// SPDX-License-Identifier: Apache-2.0

package sequential

import (
	"fmt"
	"math"
)

// Side is what a test tries to show.
type Side int8

const (
	Above  Side = iota // the rate is above the bound
	Below              // the rate is below the bound
	Either             // the rate is not the bound
)

// String returns the side as a word.
func (s Side) String() string { return [...]string{"above", "below", "not"}[s] }

// odds are the bets: odds ratios against the bound. They reach from "a quarter more" to "all", because a bundle can
// block one visitor in a hundred too many, or everybody. Each bet that is added costs ln(bets+1) - ln(bets) of every
// result.
var odds = [...]float64{1.25, 1.6, 2, 3, 5, 10, 30, 100, 1000}

var lnOdds = func() (ln [len(odds)]float64) {
	for i, c := range odds {
		ln[i] = math.Log(c)
	}
	return ln
}()

// Test is one sequential test of a rate.
type Test struct {
	Side  Side    `json:"side"`
	Bound float64 `json:"bound"` // a rate, between 0 and 1 and neither of them
	Alpha float64 `json:"alpha"` // the chance of a false rejection, over all looks; between 0 and 1
}

// Look is what one look at a test found.
type Look struct {
	Test
	Yes   int64   `json:"yes"`
	Votes int64   `json:"votes"`
	LnE   float64 `json:"ln_e"` // natural logarithm of the wealth; 0 before the first vote
	Limit float64 `json:"limit"`
}

// Rejects reports whether the null hypothesis is rejected: what the test tries to show is shown.
func (l Look) Rejects() bool { return l.LnE >= l.Limit }

// Rate is yes ÷ votes; 0 without votes.
func (l Look) Rate() float64 {
	if l.Votes <= 0 {
		return 0
	}
	return float64(l.Yes) / float64(l.Votes)
}

// String says what was looked at, for people.
func (l Look) String() string {
	return fmt.Sprintf("%d of %d (%.3g %%), %s %.3g %%: ln E %.2f of %.2f",
		l.Yes, l.Votes, 100*l.Rate(), l.Side, 100*l.Bound, l.LnE, l.Limit)
}

// Look looks at yes of votes; votes are those since the test began, not since the last look. Numbers that cannot be
// (yes beyond votes, a bound outside of 0 to 1) show nothing.
func (t Test) Look(yes, votes int64) Look {
	l := Look{Test: t, Yes: yes, Votes: votes, Limit: -math.Log(t.Alpha)}
	if votes <= 0 || yes < 0 || yes > votes || !(t.Bound > 0 && t.Bound < 1) {
		return l
	}
	k, m := float64(yes), float64(votes)
	switch t.Side {
	case Above:
		l.LnE = mean(k, m, t.Bound, 1)
	case Below:
		l.LnE = mean(k, m, t.Bound, -1)
	case Either:
		a, b := mean(k, m, t.Bound, 1), mean(k, m, t.Bound, -1)
		l.LnE = max(a, b) + math.Log1p(math.Exp(-math.Abs(a-b))) - math.Ln2
	}
	return l
}

// mean is ln of the mean wealth of all bets with c (sign 1) or 1/c (sign -1).
func mean(k, m, bound, sign float64) float64 {
	var ln [len(odds)]float64
	top := math.Inf(-1)
	for i, c := range odds {
		if sign < 0 {
			c = 1 / c
		}
		ln[i] = sign*k*lnOdds[i] - m*math.Log1p((c-1)*bound)
		top = max(top, ln[i])
	}
	sum := 0.0
	for _, v := range ln {
		if d := v - top; d > -40 {
			sum += math.Exp(d)
		}
	}
	return top + math.Log(sum/float64(len(odds)))
}
