// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"encoding/binary"
	"net/netip"

	"github.com/spillway/spillway/bpf"
)

// prefixLayout is how a table of prefixes lies in its pages. Addresses are numbers, whose upper bits name a chunk and
// whose lower ones are the key within it; a range is key<<16 | head.
type prefixLayout struct {
	name       string // of the table, before a prefix
	numberBits uint8
	keyBits    uint8
	outside    int    // bits in front of the number, which are the same for all of them
	width      uint32 // words of a range
	steps      int    // of a search, at the most
	inPage     bool   // the ranges of a chunk lie in one page

	number  func(netip.Addr) uint64
	address func(uint64) netip.Addr
}

var (
	layout4 = &prefixLayout{name: "prefixes_v4", numberBits: 32, keyBits: bpf.PrefixKey4, width: 1,
		steps: bpf.PrefixKey4, inPage: true,
		number: func(a netip.Addr) uint64 {
			b := a.As4()
			return uint64(binary.BigEndian.Uint32(b[:]))
		},
		address: func(n uint64) netip.Addr {
			return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(n))))
		}}
	// Of IPv6 the table has 2000::/3, to the /64.
	layout6 = &prefixLayout{name: "prefixes_v6", numberBits: 61, keyBits: bpf.PrefixKey6, outside: 3, width: 2,
		steps: bpf.PrefixSteps6,
		number: func(a netip.Addr) uint64 {
			b := a.As16()
			return binary.BigEndian.Uint64(b[:8]) & (1<<61 - 1)
		},
		address: func(n uint64) netip.Addr {
			return netip.AddrFrom16([16]byte(append(binary.BigEndian.AppendUint64(nil, 1<<61|n), make([]byte, 8)...)))
		}}
)

func (l *prefixLayout) new() Table { return &prefixTable{prefixLayout: l} }

// of returns the image's table of this layout.
func (l *prefixLayout) of(img *Image, name string) *prefixTable {
	return img.features[name].(*prefixTable)
}

// end is one more than the last number.
func (l *prefixLayout) end() uint64 { return 1 << l.numberBits }

func (l *prefixLayout) chunks() uint64 { return 1 << (l.numberBits - l.keyBits) }

func (l *prefixLayout) chunkPages() int { return int(l.chunks() / bpf.PrefixPageWords) }

func (l *prefixLayout) key(number uint64) uint64 { return number & (1<<l.keyBits - 1) }

// entry returns the count of the ranges that lie somewhere, and behind it these.
func (l *prefixLayout) entry(word func(at uint32) uint32, at, i uint32) (n uint64) {
	for w := range l.width {
		where := (at+i*l.width)&^(l.width-1) + w
		if l.inPage {
			where = at&^(bpf.PrefixPageWords-1) | where&(bpf.PrefixPageWords-1)
		}
		n |= uint64(word(where)) << (32 * w)
	}
	return n
}

// skip returns where so many ranges and their count may lie, from a place on.
func (l *prefixLayout) skip(at uint32, n int) uint32 {
	if rest := bpf.PrefixPageWords - at%bpf.PrefixPageWords; l.inPage && int(rest) < n+1 {
		return at + rest
	}
	return at
}

// pages returns how many pages so many rows need at the most. Each begins and ends a range; each chunk with such an
// end in it has a count and a first range besides; and where ranges cross no page there may be no room for the next
// ones at its end.
func (l *prefixLayout) pages(rows int) int {
	words := int(l.width) * (2*rows + 2*min(2*rows, int(l.chunks())))
	page := bpf.PrefixPageWords
	if l.inPage {
		page -= 1 + 1<<l.keyBits
	}
	return l.chunkPages() + words/page + 1
}
