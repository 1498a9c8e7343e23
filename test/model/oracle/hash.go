// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"encoding/binary"
	"math/bits"
)

// sipHash is SipHash-1-3 (Aumasson, Bernstein, 2012) without the last word, which holds the message's length: one round
// a word, three at the end.
func sipHash(key0, key1 uint64, message []byte) uint64 {
	v0, v1 := key0^0x736f6d6570736575, key1^0x646f72616e646f6d
	v2, v3 := key0^0x6c7967656e657261, key1^0x7465646279746573
	round := func() {
		v0 += v1
		v2 += v3
		v1, v3 = bits.RotateLeft64(v1, 13)^v0, bits.RotateLeft64(v3, 16)^v2
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v1
		v0 += v3
		v1, v3 = bits.RotateLeft64(v1, 17)^v2, bits.RotateLeft64(v3, 21)^v0
		v2 = bits.RotateLeft64(v2, 32)
	}
	for b := message; len(b) >= 8; b = b[8:] {
		word := binary.LittleEndian.Uint64(b)
		v3 ^= word
		round()
		v0 ^= word
	}
	v2 ^= 0xff
	round()
	round()
	round()
	return v0 ^ v1 ^ v2 ^ v3
}

// synPlace returns the one place where a SYN of these addresses and ports is remembered.
func (w *World) synPlace(k key) int {
	b := append([]byte(nil), k.addresses[:]...)
	b = binary.BigEndian.AppendUint16(b, k.sourcePort)
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint16(b, k.destPort)
	b = append(b, 0, 0)
	return int(sipHash(w.SynKey[0], w.SynKey[1], b) & uint64(w.SynPlaces-1))
}

// blockPlace returns the one place where a blocked connection is remembered, and its name there. See is_repeated() in
// bpf/stats.h: what counts is the source, the ports and the ISN.
func (w *World) blockPlace(k key, isn uint32) (place, name uint64) {
	const places = 4096
	mix := func(sum, word uint64) uint64 {
		sum = (sum ^ word) * 0x9e3779b97f4a7c15
		return sum ^ sum>>32
	}
	wire := func(port uint16) uint64 { return uint64(port>>8 | port<<8) }
	sum := mix(w.SynKey[0], binary.LittleEndian.Uint64(k.addresses[:8]))
	sum = mix(sum, binary.LittleEndian.Uint64(k.addresses[8:16]))
	sum = mix(sum, (uint64(isn)<<32|wire(k.sourcePort))^wire(k.destPort)<<16)
	return sum % places, sum >> 32
}
