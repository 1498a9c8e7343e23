// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// spelled reads "10-20a 15-25b!", bytes 10 to 19 of a stream, all of them a, and so on, as pieces behind a first byte;
// the second has a FIN.
func spelled(t *testing.T, text string, begin uint32, scale int) (all []piece) {
	t.Helper()
	for _, word := range strings.Fields(text) {
		var from, to int
		var letter byte
		if _, err := fmt.Sscanf(word, "%d-%d%c", &from, &to, &letter); err != nil {
			t.Fatalf("%s: %v", word, err)
		}
		all = append(all,
			piece{begin + uint32(scale*from), bytes.Repeat([]byte{letter}, scale*(to-from)), strings.HasSuffix(word, "!")})
	}
	return all
}

// Of bytes that come twice those count that Linux takes: what its receiver served, measured on 6.18 with these
// segments, of which the last closes the gap in front of the others.
func TestBytesThatComeTwice(t *testing.T) {
	for _, c := range []struct {
		sent, served string
		same         bool // no byte came twice with another value
	}{
		{"10-20a 0-10z", "0-10z 10-20a", true},
		{"20-30a 10-20b 0-10z", "0-10z 10-20b 20-30a", true},
		{"10-20a 10-30a 15-40a 0-10z", "0-10z 10-40a", true},
		{"10-20a 10-20b 0-10z", "0-10z 10-20a", false},
		{"10-20a 10-15b 0-10z", "0-10z 10-20a", false},
		{"10-20a 15-20b 0-10z", "0-10z 10-20a", false},
		{"10-30a 15-20b 0-10z", "0-10z 10-30a", false},
		{"10-20a 10-30b 0-10z", "0-10z 10-30b", false},
		{"15-20a 10-30b 0-10z", "0-10z 10-30b", false},
		{"15-20a 10-20b 0-10z", "0-10z 10-20b", false},
		{"10-20a 15-25b 0-10z", "0-10z 10-20a 20-25b", false},
		{"15-25a 10-20b 0-10z", "0-10z 10-20b 20-25a", false},
		{"10-15a 20-25b 12-22c 0-10z", "0-10z 10-15a 15-22c 22-25b", false},
		{"10-15a 20-25b 10-22c 0-10z", "0-10z 10-22c 22-25b", false},
		{"10-20a 15-25b 10-25c 0-10z", "0-10z 10-25c", false},
		{"10-20a 15-25b 12-22c 0-10z", "0-10z 10-20a 20-22c 22-25b", false},
		{"15-25a 20-30b 10-22c 0-10z", "0-10z 10-22c 22-25a 25-30b", false},
		{"10-15a 15-20b 10-18c 0-10z", "0-10z 10-15a 15-20b", false},
		{"15-20b 10-15a 10-18c 0-10z", "0-10z 10-18c 18-20b", false},
		{"10-15a 15-20b 10-20c 0-10z", "0-10z 10-15a 15-20b", false},
		{"15-20b 10-15a 10-20c 0-10z", "0-10z 10-20c", false},
		{"10-15a 15-20b 12-18c 0-10z", "0-10z 10-15a 15-20b", false},
		{"15-20b 10-15a 12-18c 0-10z", "0-10z 10-15a 15-18c 18-20b", false},
		{"20-30x 10-15a 15-20b 10-18c 0-10z", "0-10z 10-15a 15-20b 20-30x", false},
		{"10-20a 0-15b", "0-15b 15-20a", true}, // taken, not queued
		{"10-20a 0-30b", "0-30b", true},
		{"0-10a 5-15b", "0-10a 10-15b", true},
		{"10-20a! 0-10z 20-30b", "0-10z 10-20a", true}, // a FIN counts as a byte, and goes with its piece
		{"20-30b 10-20a! 0-10z", "0-10z 10-20a", true},
		{"20-30b 0-20a!", "0-20a", true},
		{"10-30a 15-20a! 0-10z", "0-10z 10-30a", true},
		{"15-20a! 10-30a 0-10z", "0-10z 10-30a", true},
		{"10-20a! 10-30a 0-10z", "0-10z 10-30a", true},
		{"10-20a! 5-20a 0-5z", "0-5z 5-20a", true},
		{"10-20a! 15-30a 0-10z", "0-10z 10-20a", true},
		{"10-20a! 0-30a", "0-30a", true},
		{"10-20a! 0-20a 20-30a", "0-20a", true},
		{"20-20x! 10-20a 20-30b 0-10z", "0-10z 10-20a 20-30b", true},
	} {
		for _, begin := range []uint32{0, 1 << 31, 0xfffffff4} {
			for _, scale := range []int{1, 40} {
				r, taken := receiver{next: begin}, []byte(nil)
				for _, p := range spelled(t, c.sent, begin, scale) {
					r.receive(p, func(at uint32, data []byte) bool {
						if at != begin+uint32(len(taken)) {
							t.Errorf("%s: took byte %d after %d bytes", c.sent, at-begin, len(taken))
						}
						taken = append(taken, data...)
						return true
					})
				}
				var want []byte
				for _, p := range spelled(t, c.served, begin, scale) {
					want = append(want, p.data...)
				}
				if !bytes.Equal(taken, want) || r.late.differs == c.same || r.late.bytes != 0 || len(r.late.pieces) != 0 {
					t.Errorf("%s from %d, times %d: took %s, want %s; differs %t, left %+v", c.sent, begin, scale, taken, want,
						r.late.differs, r.late)
				}
			}
		}
	}
}

// What waits is bounded, and what was refused for it may come again.
func TestWhatWaitsIsBounded(t *testing.T) {
	var r receiver
	none := func(uint32, []byte) bool { t.Error("took a byte behind a gap"); return true }
	for i := range uint32(1000) {
		r.receive(piece{2 + 2*i, []byte{1}, false}, none)
	}
	if len(r.late.pieces) != latePieces || r.late.bytes != latePieces {
		t.Errorf("%d pieces with %d bytes", len(r.late.pieces), r.late.bytes)
	}
	r = receiver{}
	for i := range uint32(100) {
		r.receive(piece{10 + 1000*i, make([]byte, 1000), false}, none)
	}
	if r.late.bytes > lateMax || len(r.late.pieces) != 1 {
		t.Errorf("%d pieces with %d bytes", len(r.late.pieces), r.late.bytes)
	}
}
