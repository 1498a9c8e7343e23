// SPDX-License-Identifier: Apache-2.0

package sequential

import "math"

// mostVotes bounds what Needed looks for. More votes than that no host sees in a year.
const mostVotes = 1 << 40

// Needed is the smallest number of votes at which a test Below rejects when yes of them are yes; mostVotes when none
// is enough. A test Above is asked with yes as the number of votes that are all yes.
func (t Test) Needed(yes int64) int64 {
	enough := func(votes int64) bool {
		if t.Side == Above {
			return t.Look(votes, votes).Rejects()
		}
		return t.Look(yes, votes).Rejects()
	}
	low, high := max(yes, 1), int64(mostVotes)
	if t.Side == Above {
		low = 1
	}
	for low < high {
		if mid := low + (high-low)/2; enough(mid) {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}

// NeededAt is about how many votes a test Below needs when the true rate is rate, below the bound: the smallest
// number whose expected yes are enough; mostVotes when the rate is not below the bound.
func (t Test) NeededAt(rate float64) int64 {
	if t.Side != Below || rate >= t.Bound {
		return mostVotes
	}
	low, high := int64(1), int64(mostVotes)
	for low < high {
		mid := low + (high-low)/2
		if t.Look(int64(math.Ceil(rate*float64(mid))), mid).Rejects() {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}

// Interval is a confidence sequence: with probability 1-alpha the rate lies in all of the intervals that are ever
// looked at. Rates from 0 to 1; without votes it is everything.
func Interval(yes, votes int64, alpha float64) (low, high float64) {
	if votes <= 0 || yes < 0 || yes > votes {
		return 0, 1
	}
	return bisect(Above, yes, votes, alpha/2), bisect(Below, yes, votes, alpha/2)
}

// bisect finds the bound between those that a test of this side rejects and those that it does not.
func bisect(side Side, yes, votes int64, alpha float64) float64 {
	low, high := 0.0, 1.0
	for range 50 {
		mid := low + (high-low)/2
		if (Test{Side: side, Bound: mid, Alpha: alpha}).Look(yes, votes).Rejects() == (side == Above) {
			low = mid
		} else {
			high = mid
		}
	}
	return low + (high-low)/2
}

// Tilted is the share of the events that falls to an arm with this share of the sources, when its sources have them
// ratio times as often as the others: share·ratio ÷ (share·ratio + 1 - share). Only the split between the arms is
// tested, so the rate itself may change at any time (Lindon and Malek 2022).
func Tilted(share, ratio float64) float64 { return share * ratio / (share*ratio + 1 - share) }
