// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"math"
	"math/bits"
	"time"
)

const (
	// subBits splits each power of two into 32 buckets: a quantile is at most
	// 1/32 (3.2 %) above the truth.
	subBits = 5
	// octaves of microseconds above the exact ones: up to 2^31 µs, 35 minutes,
	// far above any time-out.
	octaves = 26
)

// histogram counts durations in fixed, logarithmic buckets of microseconds.
type histogram struct {
	buckets [(octaves + 1) << subBits]uint64
	count   uint64
	max     time.Duration
}

func (h *histogram) add(d time.Duration) {
	h.buckets[bucketOf(d)]++
	h.count++
	h.max = max(h.max, d)
}

// bucketOf returns the index for d: below 64 µs the microseconds themselves,
// above it the octave and the 5 bits that follow the leading one.
func bucketOf(d time.Duration) int {
	us := uint64(max(0, d.Microseconds()))
	shift := max(0, bits.Len64(us)-subBits-1)
	if shift >= octaves {
		return (octaves+1)<<subBits - 1
	}
	return shift<<subBits + int(us>>shift)
}

// upper returns the first duration above bucket i.
func upper(i int) time.Duration {
	shift := max(0, i>>subBits-1)
	return time.Duration((i-shift<<subBits)+1) << shift * time.Microsecond
}

// quantile returns the upper bound of the bucket that holds the q-th share,
// never more than the maximum; 0 when there is nothing.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(h.count)))
	var seen uint64
	for i, n := range h.buckets {
		seen += n
		if n > 0 && seen >= rank {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

// nearestRank returns the q-th share of sorted, which is not empty.
func nearestRank(sorted []time.Duration, q float64) time.Duration {
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
