// SPDX-License-Identifier: Apache-2.0

package clienthello

import (
	"math/rand/v2"
)

// MaxLen is the greatest length of a generated message, in bytes.
const MaxLen = 6 << 10

const (
	maxCiphers    = 130
	maxExtensions = 130
	maxAlgorithms = 70
	maxKeyShare   = 1500
	// roomForRest is kept free for the headers of all extensions and for the small ones among them.
	roomForRest = 4*maxExtensions + 600
)

// Generate returns a well-formed hello: its lengths are right, so it has a fingerprint. A third are like a browser's,
// the others anything: up to 130 cipher suites and extensions in any order, GREASE everywhere, values that look like
// GREASE, types that come twice, empty lists, no extensions at all.
func Generate(r *rand.Rand) Hello {
	h := Hello{Version: 0x0303, SessionID: noise(r, pick(r, []int{0, 32, 32, 32, r.IntN(33), r.IntN(256)})),
		Compression: []byte{0}}
	copy(h.Random[:], noise(r, len(h.Random)))
	if chance(r, 3) {
		return browser(r, h)
	}
	if chance(r, 3) {
		h.Version = value(r, knownVersions)
	}
	if chance(r, 8) {
		h.Compression = noise(r, r.IntN(4))
	}
	h.Ciphers = values(r, count(r, maxCiphers), knownCiphers)
	if chance(r, 20) {
		h.Bare = true
		return h
	}
	g := generator{r: r, room: MaxLen - len(h.Bytes()) - roomForRest}
	for _, kind := range values(r, count(r, maxExtensions), knownExtensions) {
		h.Extensions = append(h.Extensions, g.extension(kind))
	}
	if len(h.Extensions) > 0 && chance(r, 10) { // one that a fingerprint reads, twice
		at := r.IntN(len(h.Extensions))
		h.Extensions[at] = g.extension(pick(r, []uint16{typeAlgorithms, typeALPN, typeVersions}))
	}
	return h
}

// browser fills a hello with what browsers send today: permuted extensions between two of GREASE.
func browser(r *rand.Rand, h Hello) Hello {
	g := generator{r: r, room: MaxLen - roomForRest}
	h.Ciphers = append([]uint16{grease(r)}, knownCiphers[:15]...)
	kinds := []uint16{typeServerName, 0x0005, typeGroups, typePointFormats, typeAlgorithms, typeALPN,
		0x0012, 0x0017, 0x001b,
		typeSessionTicket, typeVersions, 0x002d, typeKeyShare, 0x44cd, 0xfe0d, 0xff01}
	r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	kinds = append(append([]uint16{grease(r)}, kinds...), grease(r))
	if chance(r, 3) {
		kinds = append(kinds, typePadding)
	}
	if chance(r, 3) {
		kinds = append(kinds, typePreSharedKey)
	}
	for _, kind := range kinds {
		h.Extensions = append(h.Extensions, g.extension(kind))
	}
	return h
}
