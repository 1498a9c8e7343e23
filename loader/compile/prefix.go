// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/spillway/spillway/bpf"
)

// IPv4 prefixes are one table. Of IPv6 the table has what is routed, to the /64; single addresses lie in a hash, and
// all else in a trie: what lies outside of 2000::/3, and what is between a /64 and an address.
var (
	prefixes4Map = Map{Name: bpf.DataplaneMapPrefixes4, Room: "prefixes_v4", Told: "prefixes4", form: layout4,
		fitted: layout4.pages, count: func(g *bpf.Generation) *uint32 { return &g.Prefixes4 }}
	prefixes6Map = Map{Name: bpf.DataplaneMapPrefixes6, Room: "prefixes_v6", Told: "prefixes6", form: layout6,
		fitted: layout6.pages, count: func(g *bpf.Generation) *uint32 { return &g.Prefixes6 },
		features: func(b *builder) int { return b.rows6 }}
	hosts6Map = Map{Name: bpf.DataplaneMapPrefixes6Hosts, Room: "prefixes_v6", form: hosts6,
		fitted: func(rows int) int { return rows }}
	far6Map = Map{Name: bpf.DataplaneMapPrefixes6Far, Room: "prefixes_v6", form: far6,
		fitted: func(rows int) int { return rows + routedBits }} // the pieces of one around 2000::/3

	hosts6 = &form[[4]uint32, uint32]{bpf.DataplaneMapPrefixes6Hosts, "prefixes_v6",
		func(a, b [4]uint32) int { return slices.Compare(a[:], b[:]) },
		func(k [4]uint32) string { return Unmapped(k).String() + "/128" }, formatHead}
	far6 = &form[bpf.Prefix6Key, uint32]{bpf.DataplaneMapPrefixes6Far, "prefixes_v6", comparePrefix6, FormatPrefix,
		formatHead}
)

// What is routed (RFC 4291 section 2.4: global unicast), and how much of it the table tells apart.
var routed = netip.MustParsePrefix("2000::/3")

const (
	routedBits = 3
	tableBits  = 64
)

// compilePrefixes resolves all lists into these tables.
func compilePrefixes(b *builder) error {
	to4, to6 := layout4.of(b.img, bpf.DataplaneMapPrefixes4), layout6.of(b.img, bpf.DataplaneMapPrefixes6)
	hosts, far := hosts6.of(b.img), map[netip.Prefix]uint32{}
	v4, v6 := b.PrefixCount()
	to4.rows, to6.rows = make([]prefixRow, 0, v4), make([]prefixRow, 0, v6)
	err := flatten(b.Prefixes, b.index, b.chains, func(p netip.Prefix, head uint32) {
		if p.Addr().Is4() {
			to4.add(p, head)
			return
		}
		b.rows6++
		switch {
		case p.IsSingleIP():
			hosts.add(Mapped(p.Addr()), head)
		case covers(routed, p) && p.Bits() <= tableBits:
			to6.add(p, head)
		case covers(p, routed):
			to6.add(p, head)
			for _, outside := range besides(p, routed) {
				far[outside] = head // what is inside of it comes later
			}
		default:
			far[p] = head
		}
	})
	if err != nil {
		return fmt.Errorf("compile prefixes: %w", err)
	}
	trie := far6.of(b.img)
	for p, head := range far {
		trie.add(Key6(p), head)
	}
	to4.build()
	to6.build()
	hosts.sort()
	trie.sort()
	return nil
}

// Reader hands out entries of the maps of a generation, where they have them; pages of prefixes may be kept.
type Reader interface {
	Row(name string, key, value any) (bool, error)
	Page(name string, page uint32) (*bpf.PrefixPage, error)
}

// HasPrefix reports whether a generation has rules for an address's prefix.
func HasPrefix(from Reader, a netip.Addr) (bool, error) {
	if a.Is4() {
		return layout4.has(bpf.DataplaneMapPrefixes4, from, a)
	}
	for _, in := range []struct {
		name string
		key  any
	}{
		{bpf.DataplaneMapPrefixes6Hosts, Mapped(a)},
		{bpf.DataplaneMapPrefixes6Far, Key6(netip.PrefixFrom(a, a.BitLen()))},
	} {
		if has, err := from.Row(in.name, in.key, new(uint32)); has || err != nil {
			return has, err
		}
	}
	if !routed.Contains(a) {
		return false, nil
	}
	return layout6.has(bpf.DataplaneMapPrefixes6, from, a)
}

func (l *prefixLayout) has(name string, from Reader, a netip.Addr) (has bool, err error) {
	head := l.head(func(at uint32) uint32 {
		page, e := from.Page(name, at/bpf.PrefixPageWords)
		if err = errors.Join(err, e); page == nil {
			return 0
		}
		return page.Words[at%bpf.PrefixPageWords]
	}, l.number(a))
	return head != 0 && err == nil, err
}

// besides are the prefixes that make up a wider one without one inside it.
func besides(wide, without netip.Prefix) (all []netip.Prefix) {
	for bits := wide.Bits() + 1; bits <= without.Bits(); bits++ {
		b := without.Addr().As16()
		b[(bits-1)/8] ^= 0x80 >> ((bits - 1) % 8)
		all = append(all, netip.PrefixFrom(netip.AddrFrom16(b), bits).Masked())
	}
	return all
}

func comparePrefix6(a, b bpf.Prefix6Key) int {
	return cmp.Or(slices.Compare(a.Addr[:], b.Addr[:]), cmp.Compare(a.Prefixlen, b.Prefixlen))
}
