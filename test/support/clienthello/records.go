// SPDX-License-Identifier: Apache-2.0

package clienthello

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
)

const (
	recordHandshake = 22
	recordMax       = 1 << 14
	recordHeader    = 5
)

// Records returns a TLS stream of handshake records: the message, cut at these offsets, and wherever a record would
// become too long. Cuts that are not inside the message are ignored.
func Records(message []byte, cuts ...int) []byte {
	for at := recordMax; at < len(message); at += recordMax {
		cuts = append(slices.Clone(cuts), at)
	}
	var stream []byte
	for _, s := range Segments(message, cuts...) {
		stream = append(stream, record(recordHandshake, s.Data)...)
	}
	return stream
}

func record(kind byte, data []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{kind, 3, 1}, uint16(len(data))), data...)
}

// Segment is a piece of a stream.
type Segment struct {
	Offset int
	Data   []byte
}

// Segments cuts a stream at these offsets, in any order; cuts that are not inside it are ignored.
func Segments(stream []byte, cuts ...int) []Segment {
	var all []Segment
	begin := 0
	for _, cut := range append(slices.Sorted(slices.Values(cuts)), len(stream)) {
		if cut > begin && cut <= len(stream) {
			all = append(all, Segment{begin, stream[begin:cut:cut]})
			begin = cut
		}
	}
	return all
}

// Cuts returns offsets at which to cut n bytes: none, one anywhere, one in the first headers, a few, one every MSS, or
// around each single byte of a stretch.
func Cuts(r *rand.Rand, n int) []int {
	if n < 2 {
		return nil
	}
	var cuts []int
	switch r.IntN(8) {
	case 0, 1:
	case 2:
		cuts = append(cuts, 1+r.IntN(min(60, n-1)))
	case 3:
		for range 2 + r.IntN(4) {
			cuts = append(cuts, 1+r.IntN(n-1))
		}
	case 4:
		for at, mss := 0, 1200+r.IntN(261); at < n; at += mss {
			cuts = append(cuts, at)
		}
	case 5:
		from := r.IntN(n)
		for at := from; at < min(n, from+1+r.IntN(64)); at++ {
			cuts = append(cuts, at)
		}
	default:
		cuts = append(cuts, 1+r.IntN(n-1))
	}
	return slices.DeleteFunc(cuts, func(at int) bool { return at == 0 })
}

// Every returns all offsets at which n bytes can be cut: pieces of one byte.
func Every(n int) []int {
	var cuts []int
	for at := 1; at < n; at++ {
		cuts = append(cuts, at)
	}
	return cuts
}
