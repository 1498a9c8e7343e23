// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"encoding/binary"
	"slices"
	"testing"
)

// summed is the frame with right checksums; partial has that of the pseudo header alone, as a host leaves it to its
// card.
func summed(t *testing.T, frame []byte) []byte {
	t.Helper()
	s, why := readSegment(frame, false)
	if why != isTCP {
		t.Fatalf("a frame of the test is none: %v", why)
	}
	s.complete()
	return s.frame
}

func partial(t *testing.T, frame []byte) []byte {
	t.Helper()
	frame = summed(t, frame)
	s, _ := readSegment(frame, false)
	binary.BigEndian.PutUint16(frame[s.tcpAt+16:], fold(s.pseudoHeader()))
	return frame
}

// forged is the frame with one bit of TCP's checksum turned.
func forged(t *testing.T, frame []byte) []byte {
	t.Helper()
	frame = summed(t, frame)
	s, _ := readSegment(frame, false)
	frame[s.tcpAt+16] ^= 1
	return frame
}

func TestChecksums(t *testing.T) {
	for _, f := range []flow{flow4, flow6} {
		for _, n := range []int{0, 1, 2, 517} {
			frame := data(f, 0, make([]byte, n))
			for name, c := range map[string]struct {
				frame []byte
				want  sum
			}{
				"summed": {summed(t, frame), sumRight}, "partial": {partial(t, frame), sumPartial},
				"forged":         {forged(t, frame), sumWrong},
				"without length": {withoutLength(frame), sumPartial},
			} {
				s, _ := readSegment(c.frame, false)
				if got := s.checksum(); got != c.want {
					t.Errorf("%s, %d bytes, %s: %d, want %d", f.from, n, name, got, c.want)
				}
				s.complete()
				again, why := readSegment(s.frame, false)
				if why != isTCP || again.checksum() != sumRight || !slices.Equal(again.payload, s.payload) {
					t.Errorf("%s, %d bytes, %s: completed it is %v, %d", f.from, n, name, why, again.checksum())
				}
			}
			if s, _ := readSegment(frame[:len(frame)-1], true); s.cut && s.checksum() != sumUnread {
				t.Error("a sum of what was cut short is told")
			}
		}
	}
}

// A wrong checksum behind a right one is no server's; one in a capture of the sending host says nothing.
func TestWrongChecksumsAreLeftOut(t *testing.T) {
	hello := sample()
	other := slices.Clone(hello)
	other[len(other)-13] ^= 1 // a cipher suite
	for _, f := range []flow{flow4, flow6} {
		syn, fake, whole := openingFrame(f, firstByte-1), data(f, 0, other), data(f, 0, hello)
		fakes := ja4Of(t, fake)
		for name, c := range map[string]struct {
			frames [][]byte
			want   string
		}{
			"a fake hello": {[][]byte{summed(t, syn), forged(t, fake), summed(t, whole)}, whoever(t, f)},
			"a fake half": {[][]byte{summed(t, syn), summed(t, data(f, 0, hello[:20])),
				forged(t, data(f, 20, other[20:])), summed(t, data(f, 20, hello[20:]))}, whoever(t, f)},
			"nothing but a fake":                {[][]byte{summed(t, syn), forged(t, fake)}, fakes},
			"joined by receive offload":         {[][]byte{summed(t, syn), partial(t, whole)}, whoever(t, f)},
			"left to the card":                  {[][]byte{partial(t, syn), partial(t, whole)}, whoever(t, f)},
			"left to a card without a hint":     {[][]byte{syn, whole}, whoever(t, f)},
			"of the sending host, all are read": {[][]byte{syn, forged(t, fake), whole}, fakes},
		} {
			if got := ja4Of(t, c.frames...); got != c.want {
				t.Errorf("%s, %s: %q, want %q", f.from, name, got, c.want)
			}
		}
	}
}

func ja4Of(t *testing.T, frames ...[]byte) string {
	t.Helper()
	all, _ := readFrames(t, 0, frames...)
	if len(all) != 1 {
		t.Fatalf("%d connections", len(all))
	}
	return all[0].JA4
}
