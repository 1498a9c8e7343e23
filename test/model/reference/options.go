// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/spillway/spillway/test/support/packet"
)

// options are the TCP options of a SYN as p0f reads them.
type options struct {
	layout    []string // by p0f's names
	mss       int      // 0: absent; of two, the last
	scale     int      // 0: absent
	timestamp uint32   // 0: absent
	quirks    quirks
}

const (
	kindSACKBlocks   = 5
	maxOptions       = 24 // p0f looks no further
	maxScale         = 14 // RFC 7323, section 2.3
	minBlocks        = 10 // one block of SACK
	maxBlocks        = 34 // four
	maxUnknownOption = 40
)

// fixedOptions are the options whose whole length p0f takes for granted: a wrong length byte makes the packet odd, and
// is otherwise ignored.
var fixedOptions = map[uint8]struct {
	name   string
	length int
}{
	packet.KindMSS:        {"mss", 4},
	packet.KindScale:      {"ws", 3},
	packet.KindSACK:       {"sok", 2},
	packet.KindTimestamps: {"ts", 10},
}

// parseOptions never fails: what does not fit ends the list and is a quirk. The option that does not fit is listed.
func parseOptions(b []byte) options {
	var o options
	for len(b) > 0 && len(o.layout) < maxOptions {
		kind := b[0]
		fixed, known := fixedOptions[kind]
		length := 1
		switch {
		case kind == packet.KindEOL:
			rest := b[1:]
			o.layout = append(o.layout, fmt.Sprintf("eol+%d", len(rest)))
			looked := rest[:max(0, len(rest)-1)] // p0f steps over the byte that ends its search, and sees the end
			o.quirks.set(quirkAfterEOL, slices.ContainsFunc(looked, func(v byte) bool { return v != 0 }))
			return o
		case kind == packet.KindNOP:
			o.layout = append(o.layout, "nop")
		case known:
			o.layout = append(o.layout, fixed.name)
			length = fixed.length
		default:
			o.layout = append(o.layout, variableName(kind))
			length = variableLength(b)
		}
		if length == 0 || length > len(b) {
			break
		}
		if known {
			o.quirks.set(quirkBadOptions, int(b[1]) != length)
			o.read(kind, b[2:length])
		}
		b = b[length:]
	}
	o.quirks.set(quirkBadOptions, len(b) > 0)
	return o
}

// read takes the value of a fixed option.
func (o *options) read(kind uint8, data []byte) {
	switch kind {
	case packet.KindMSS:
		o.mss = int(binary.BigEndian.Uint16(data))
	case packet.KindScale:
		o.scale = int(data[0])
		o.quirks.set(quirkExcessiveScale, o.scale > maxScale)
	case packet.KindTimestamps:
		o.timestamp = binary.BigEndian.Uint32(data)
		o.quirks.set(quirkTimestampZero, o.timestamp == 0)
		o.quirks.set(quirkEchoSet, binary.BigEndian.Uint32(data[4:]) != 0)
	}
}

func variableName(kind uint8) string {
	if kind == kindSACKBlocks {
		return "sack"
	}
	return fmt.Sprintf("?%d", kind)
}

// variableLength returns the length that the option says it has, and 0 for one that p0f does not believe.
func variableLength(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	least, most := 2, maxUnknownOption
	if b[0] == kindSACKBlocks {
		least, most = minBlocks, maxBlocks
	}
	if length := int(b[1]); least <= length && length <= most {
		return length
	}
	return 0
}
