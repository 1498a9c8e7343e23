// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/spillway/spillway/bpf"
)

var (
	prefixes4Map = Map{Name: bpf.DataplaneMapPrefixes4, Room: "prefixes_v4", Told: "prefixes4", form: prefixes4,
		count: func(g *bpf.Generation) *uint32 { return &g.Prefixes4 }}
	prefixes6Map = Map{Name: bpf.DataplaneMapPrefixes6, Room: "prefixes_v6", Told: "prefixes6", form: prefixes6,
		count: func(g *bpf.Generation) *uint32 { return &g.Prefixes6 }}

	prefixes4 = &form[bpf.Prefix4Key, uint32]{bpf.DataplaneMapPrefixes4, "prefixes_v4", comparePrefix4, formatPrefix4,
		formatHead}
	prefixes6 = &form[bpf.Prefix6Key, uint32]{bpf.DataplaneMapPrefixes6, "prefixes_v6", comparePrefix6, FormatPrefix,
		formatHead}
)

// compilePrefixes resolves all lists into two tables.
func compilePrefixes(b *builder) error {
	to4, to6 := prefixes4.of(b.img), prefixes6.of(b.img)
	err := flatten(b.Prefixes, b.index, b.chains, func(p netip.Prefix, head uint32) {
		if p.Addr().Is4() {
			to4.add(bpf.Prefix4Key{Prefixlen: uint32(p.Bits()), Addr: Mapped(p.Addr())[3]}, head)
		} else {
			to6.add(Key6(p), head)
		}
	})
	if err != nil {
		return fmt.Errorf("compile prefixes: %w", err)
	}
	to4.sort()
	to6.sort()
	return nil
}

// mappedMarker is the ffff of ::ffff:a.b.c.d as a word in wire order.
var mappedMarker = Mapped(netip.AddrFrom4([4]byte{}))[2]

func formatPrefix4(k bpf.Prefix4Key) string {
	return netip.PrefixFrom(Unmapped([4]uint32{0, 0, mappedMarker, k.Addr}), int(k.Prefixlen)).String()
}

func comparePrefix4(a, b bpf.Prefix4Key) int {
	return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Prefixlen, b.Prefixlen))
}

func comparePrefix6(a, b bpf.Prefix6Key) int {
	return cmp.Or(slices.Compare(a.Addr[:], b.Addr[:]), cmp.Compare(a.Prefixlen, b.Prefixlen))
}
