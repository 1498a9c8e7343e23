// SPDX-License-Identifier: Apache-2.0

package oracle_test

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"github.com/spillway/spillway/test/support/packet"
)

// least is what the kernel takes in a program run, in bytes.
const least = packet.EthernetLen

// mutations bend a frame whose IP header begins at l3.
var mutations = []func(r *rand.Rand, b []byte, l3 int) []byte{
	flipBit, setByte, lieLength, cutShort, insertTag, insertBytes, removeBytes, randomFlags,
	makeFragment, grow, mapAddress,
}

// mutated returns the frame's bytes, mostly after one to four mutations. Every third is left as it is, or no connection
// would ever come about.
func mutated(r *rand.Rand, f packet.Frame) []byte {
	b := f.Bytes()
	if one(r, 3) {
		return b
	}
	for range 1 + r.IntN(4) {
		b = pick(r, mutations)(r, b, f.L3())
	}
	for len(b) < least {
		b = append(b, 0)
	}
	return b
}

// headerByte returns the position of a byte in the headers, mostly; of any byte sometimes.
func headerByte(r *rand.Rand, b []byte, l3 int) int {
	if one(r, 8) || len(b) <= l3 {
		return r.IntN(len(b))
	}
	return l3 + r.IntN(min(len(b)-l3, 80))
}

func flipBit(r *rand.Rand, b []byte, l3 int) []byte {
	b[headerByte(r, b, l3)] ^= 1 << r.IntN(8)
	return b
}

func setByte(r *rand.Rand, b []byte, l3 int) []byte {
	b[headerByte(r, b, l3)] = pick(r,
		[]byte{0, 1, 2, 5, 6, 17, 0x2c, 0x3c, 0x45, 0x60, 0x7f, 0x80, 0xff, byte(r.IntN(256))})
	return b
}

// lieLength changes a field that says how long something is.
func lieLength(r *rand.Rand, b []byte, l3 int) []byte {
	at := func(i int) bool { return len(b) > l3+i+1 }
	switch lie := uint16(r.IntN(100)); r.IntN(6) {
	case 0: // IHL
		if at(0) {
			b[l3] = b[l3]&0xf0 | uint8(r.IntN(16))
		}
	case 1: // total length of IPv4
		if at(2) {
			binary.BigEndian.PutUint16(b[l3+2:], lie)
		}
	case 2: // payload length of IPv6
		if at(4) {
			binary.BigEndian.PutUint16(b[l3+4:], lie)
		}
	case 3: // data offset behind IPv4
		if at(32) {
			b[l3+32] = uint8(r.IntN(256))
		}
	case 4: // data offset behind IPv6
		if at(52) {
			b[l3+52] = uint8(r.IntN(256))
		}
	case 5: // length of the first extension header, or of UDP
		if at(41) {
			b[l3+41] = uint8(r.IntN(8))
		}
	}
	return b
}

func cutShort(r *rand.Rand, b []byte, _ int) []byte {
	return b[:least+r.IntN(len(b)-least+1)]
}

func insertTag(r *rand.Rand, b []byte, _ int) []byte {
	kind := pick(r,
		[]uint16{packet.EtherVLAN, packet.EtherQinQ, packet.EtherVLAN, packet.EtherQinQ, packet.EtherVLAN, 0x9100})
	tag := binary.BigEndian.AppendUint16(nil, kind)
	return slices.Insert(b, 12, binary.BigEndian.AppendUint16(tag, uint16(r.IntN(4096)))...)
}

func insertBytes(r *rand.Rand, b []byte, l3 int) []byte {
	return slices.Insert(b, headerByte(r, b, l3), make([]byte, 4*(1+r.IntN(3)))...)
}

func removeBytes(r *rand.Rand, b []byte, l3 int) []byte {
	at := headerByte(r, b, l3)
	b = slices.Delete(b, at, min(at+4*(1+r.IntN(3)), len(b)))
	for len(b) < least {
		b = append(b, 0)
	}
	return b
}

func randomFlags(r *rand.Rand, b []byte, l3 int) []byte {
	for _, at := range []int{l3 + 33, l3 + 53} { // behind IPv4, behind IPv6
		if at < len(b) {
			b[at] = uint8(r.IntN(256))
		}
	}
	return b
}

// makeFragment sets the fragment word of IPv4, or of a fragment header that comes first.
func makeFragment(r *rand.Rand, b []byte, l3 int) []byte {
	word := pick(r, []uint16{0x2000, 1, 0x2001, 0x4000, 0x8000, 0x1fff, uint16(r.IntN(65536))})
	if at := l3 + 6; len(b) > at+2 && b[l3]>>4 == 4 {
		binary.BigEndian.PutUint16(b[at:], word)
	}
	if at := l3 + 42; len(b) > at+2 && b[l3]>>4 == 6 {
		b[l3+6] = packet.FragmentHeader
		binary.BigEndian.PutUint16(b[at:], word)
	}
	return b
}

func grow(r *rand.Rand, b []byte, _ int) []byte {
	return append(b, make([]byte, r.IntN(64))...)
}

// mapAddress writes the source of IPv6 as an IPv4-mapped one.
func mapAddress(_ *rand.Rand, b []byte, l3 int) []byte {
	if len(b) > l3+24 && b[l3]>>4 == 6 {
		copy(b[l3+8:], []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 1})
	}
	return b
}
