// SPDX-License-Identifier: Apache-2.0

package clienthello

import (
	"math/rand/v2"
	"slices"
)

// Types of extensions (IANA) whose content is made by rule.
const (
	typeServerName    uint16 = 0x0000
	typeGroups        uint16 = 0x000a
	typePointFormats  uint16 = 0x000b
	typeAlgorithms    uint16 = 0x000d
	typeALPN          uint16 = 0x0010
	typePadding       uint16 = 0x0015
	typeSessionTicket uint16 = 0x0023
	typePreSharedKey  uint16 = 0x0029
	typeEarlyData     uint16 = 0x002a
	typeVersions      uint16 = 0x002b
	typeCookie        uint16 = 0x002c
	typeKeyShare      uint16 = 0x0033
)

var (
	// knownExtensions are those that clients send, besides GREASE.
	knownExtensions = []uint16{
		typeServerName, 0x0001, 0x0005, typeGroups, typePointFormats, typeAlgorithms, typeALPN, 0x0012, typePadding, 0x0016,
		0x0017, 0x001b, 0x001c, 0x0022, typeSessionTicket, typePreSharedKey, typeEarlyData, typeVersions, typeCookie, 0x002d,
		0x0031, 0x0032, typeKeyShare, 0x0039, 0x3374, 0x4469, 0x44cd, 0xca34, 0xfe0d, 0xff01,
	}
	knownCiphers = []uint16{
		0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
		0x009d, 0x002f, 0x0035,
		0x000a, 0x0005, 0x00ff, 0x5600, 0xfefe, 0xfeff,
	}
	knownAlgorithms = []uint16{
		0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601, 0x0603, 0x0807, 0x0808, 0x0201,
		0x0203, 0x0904, 0x0905,
		0x0906,
	}
	knownVersions = []uint16{0x0304, 0x0303, 0x0302, 0x0301, 0x0300, 0x0002, 0x7f12, 0x7f17, 0xfeff,
		0xfefd, 0xfefc, 0x0305, 0}
	knownGroups = []uint16{0x11ec, 0x001d, 0x0017, 0x0018, 0x0019, 0x0100, 0x6399}
	// nearGREASE look like GREASE and are not.
	nearGREASE = []uint16{0x0a1a, 0x1a0a, 0x2a3a, 0xfa0a, 0x0b0b, 0xa0a0, 0x0a0b, 0x000a, 0x0a00, 0xaaab}
)

// grease returns one of the 16 values of RFC 8701.
func grease(r *rand.Rand) uint16 { return uint16(r.IntN(16))<<4*0x0101 + 0x0a0a }

// value returns mostly one of the known, and else GREASE, what looks like it, or anything.
func value(r *rand.Rand, known []uint16) uint16 {
	switch r.IntN(12) {
	case 0:
		return grease(r)
	case 1:
		return pick(r, nearGREASE)
	case 2:
		return uint16(r.Uint32())
	}
	return pick(r, known)
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// chance is true once in n times.
func chance(r *rand.Rand, n int) bool { return r.IntN(n) == 0 }

// count returns a number up to most: often a common one, often one at a limit.
func count(r *rand.Rand, most int) int {
	switch r.IntN(8) {
	case 0:
		return r.IntN(min(3, most+1))
	case 1:
		return min(most, pick(r, []int{16, 17, 31, 32, 33, 63, 64, 65, 98, 99, 100, most}))
	case 2:
		return r.IntN(most + 1)
	}
	return min(most, 1+r.IntN(20))
}

// values returns n of them: of a browser's kind without repetition, or with repetitions; shuffled, or in order.
func values(r *rand.Rand, n int, known []uint16) []uint16 {
	repeats := chance(r, 4)
	seen := map[uint16]bool{}
	var all []uint16
	for len(all) < n {
		v := value(r, known)
		if seen[v] && !repeats {
			v = uint16(r.Uint32())
		}
		seen[v] = true
		all = append(all, v)
	}
	if chance(r, 6) {
		slices.Sort(all)
		if chance(r, 2) {
			slices.Reverse(all)
		}
	}
	return all
}

// noise returns n random bytes.
func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
