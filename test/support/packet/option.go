// SPDX-License-Identifier: Apache-2.0

package packet

import (
	"encoding/binary"
	"slices"
)

// Kinds of TCP options (IANA).
const (
	KindEOL        uint8 = 0
	KindNOP        uint8 = 1
	KindMSS        uint8 = 2
	KindScale      uint8 = 3
	KindSACK       uint8 = 4
	KindTimestamps uint8 = 8
	KindFastOpen   uint8 = 34
)

// Options joins TCP options.
func Options(all ...[]byte) []byte { return slices.Concat(all...) }

// Option is any option that has a length byte.
func Option(kind uint8, data ...byte) []byte {
	return append([]byte{kind, uint8(2 + len(data))}, data...)
}

// EOL is the end-of-options mark.
func EOL() []byte { return []byte{KindEOL} }

// NOP is one byte of nothing.
func NOP() []byte { return []byte{KindNOP} }

// MSS is the maximum segment size.
func MSS(size uint16) []byte { return Option(KindMSS, binary.BigEndian.AppendUint16(nil, size)...) }

// Scale is the shift of the window.
func Scale(shift uint8) []byte { return Option(KindScale, shift) }

// SACKPermitted offers selective acknowledgements.
func SACKPermitted() []byte { return Option(KindSACK) }

// Timestamps carries the sender's clock.
func Timestamps(value, echo uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, value)
	return Option(KindTimestamps, binary.BigEndian.AppendUint32(b, echo)...)
}
