// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"net/netip"
)

// The names of the two ends of the veth pair, the same in every lab.
const (
	edgeIf = "edge0"
	outIf  = "out0"
)

// The lab's addresses: 198.18.0.0/15 is for benchmarks (RFC 2544), 2001:db8::/32
// for documentation (RFC 3849); neither is routed anywhere.
var (
	// EdgeAddr4 and EdgeAddr6 are where the origin listens.
	EdgeAddr4 = netip.MustParseAddr("198.18.0.1")
	EdgeAddr6 = netip.MustParseAddr("2001:db8:e::1")
	// OutAddr4 and OutAddr6 are the out side's own end of the link, and the
	// edge's default gateway.
	OutAddr4 = netip.MustParseAddr("198.18.0.2")
	OutAddr6 = netip.MustParseAddr("2001:db8:e::2")

	// The prefixes of the crowds; each holds the addresses from ::1 upwards.
	VisitorPrefix4 = netip.MustParsePrefix("198.18.10.0/24")
	VisitorPrefix6 = netip.MustParsePrefix("2001:db8:10::/64")
	CrawlerPrefix4 = netip.MustParsePrefix("198.18.66.0/24")
	CrawlerPrefix6 = netip.MustParsePrefix("2001:db8:66::/64")
	ScannerPrefix4 = netip.MustParsePrefix("198.18.77.0/24")
	ScannerPrefix6 = netip.MustParsePrefix("2001:db8:77::/64")

	// WidePrefix6 is all the out side's, from Widen on: whoever counts by source prefix finds many.
	WidePrefix6 = netip.MustParsePrefix("2001:db8:8000::/33")
)

// How many addresses of each prefix the out side owns.
const (
	visitorAddrs = 32
	crawlerAddrs = 8
	scannerAddrs = 16
)

// sources is what a crowd sends from: the same number of addresses per family.
type sources struct{ v4, v6 []netip.Addr }

func visitorSources() sources { return sourcesOf(VisitorPrefix4, VisitorPrefix6, visitorAddrs) }
func crawlerSources() sources { return sourcesOf(CrawlerPrefix4, CrawlerPrefix6, crawlerAddrs) }
func scannerSources() sources { return sourcesOf(ScannerPrefix4, ScannerPrefix6, scannerAddrs) }

func sourcesOf(p4, p6 netip.Prefix, count int) sources {
	return sources{firstAddrs(p4, count), firstAddrs(p6, count)}
}

// firstAddrs returns the count addresses that follow the prefix's first one.
func firstAddrs(p netip.Prefix, count int) []netip.Addr {
	addrs := make([]netip.Addr, 0, count)
	for a := p.Masked().Addr().Next(); len(addrs) < count; a = a.Next() {
		addrs = append(addrs, a)
	}
	return addrs
}

// pick returns the source of the n-th request: the families take turns, and
// each goes round its addresses.
func (s sources) pick(n uint64) netip.Addr {
	if len(s.v4) == 0 {
		return s.v6[n%uint64(len(s.v6))]
	}
	if n%2 == 0 {
		return s.v4[n/2%uint64(len(s.v4))]
	}
	return s.v6[n/2%uint64(len(s.v6))]
}

// WideSources returns one address of each of the first count /48 of a part of WidePrefix6.
func WideSources(part netip.Prefix, count int) []netip.Addr {
	all := make([]netip.Addr, 0, count)
	for n := range count {
		a := part.Masked().Addr().As16()
		third := binary.BigEndian.Uint16(a[4:]) + uint16(n)
		binary.BigEndian.PutUint16(a[4:], third)
		a[15] = 1
		all = append(all, netip.AddrFrom16(a))
	}
	return all
}

// edgeAddrFor returns the edge's address in the family of source.
func edgeAddrFor(source netip.Addr) netip.Addr {
	if source.Is4() {
		return EdgeAddr4
	}
	return EdgeAddr6
}

// outAddrs returns every host address of the out side.
func outAddrs() []netip.Addr {
	var all []netip.Addr
	for _, s := range []sources{visitorSources(), crawlerSources(), scannerSources()} {
		all = append(append(all, s.v4...), s.v6...)
	}
	return all
}
