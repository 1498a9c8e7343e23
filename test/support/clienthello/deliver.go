// SPDX-License-Identifier: Apache-2.0

package clienthello

import (
	"math/rand/v2"
	"slices"
)

// Retransmit sends some segments again, each at some time after the first.
func Retransmit(r *rand.Rand, segments []Segment) []Segment {
	return again(r, segments, func(s Segment) Segment { return s })
}

// Contradict sends some segments again with another byte in them.
func Contradict(r *rand.Rand, segments []Segment) []Segment {
	return again(r, segments, func(s Segment) Segment {
		s.Data = slices.Clone(s.Data)
		s.Data[r.IntN(len(s.Data))] ^= byte(1 + r.IntN(255))
		return s
	})
}

// again inserts at least one changed copy behind its original.
func again(r *rand.Rand, segments []Segment, change func(Segment) Segment) []Segment {
	all := slices.Clone(segments)
	if len(all) == 0 {
		return all
	}
	for range 1 + r.IntN(3) {
		i := r.IntN(len(segments))
		first := slices.IndexFunc(all, func(s Segment) bool { return s.Offset == segments[i].Offset })
		all = slices.Insert(all, first+1+r.IntN(len(all)-first), change(segments[i]))
	}
	return all
}

// Overlap lets some segments begin with bytes that came before them. The bytes are the same.
func Overlap(r *rand.Rand, segments []Segment) []Segment {
	var stream []byte
	var all []Segment
	for _, s := range segments {
		stream = append(stream[:s.Offset:s.Offset], s.Data...)
		if s.Offset > 0 && chance(r, 2) {
			back := 1 + r.IntN(s.Offset)
			s = Segment{s.Offset - back, stream[s.Offset-back:]}
		}
		all = append(all, s)
	}
	return all
}

// Shuffle puts the segments out of order, when there are two.
func Shuffle(r *rand.Rand, segments []Segment) []Segment {
	all := slices.Clone(segments)
	if len(all) < 2 {
		return all
	}
	if chance(r, 2) {
		i := r.IntN(len(all) - 1)
		all[i], all[i+1] = all[i+1], all[i]
		return all
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}
