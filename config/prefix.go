// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
)

// comparePrefix orders IPv4 before IPv6, then by address, then the wider first.
func comparePrefix(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// within reports whether inner is equal to or inside outer.
func within(inner, outer netip.Prefix) bool {
	return inner.Bits() >= outer.Bits() && outer.Contains(inner.Addr())
}

// reach says who can have an address.
type reach uint8

const (
	reachPublic   reach = iota
	reachPrivate        // hosts of a private network, never strangers
	reachReserved       // nobody who sends a packet here
)

// block is a range of addresses with a use of its own.
type block struct {
	prefix netip.Prefix
	name   string
}

// From the IANA special-purpose address registries (RFC 6890). Documentation and benchmark addresses are left out: they
// harm nobody, and every example and test uses them.
var (
	reserved4 = []block{
		{netip.MustParsePrefix("0.0.0.0/8"), "this network, RFC 791"},
		{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
		{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
		{netip.MustParsePrefix("192.0.0.0/24"), "protocol assignments, RFC 6890"},
		{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
		{netip.MustParsePrefix("240.0.0.0/4"), "for the future, RFC 1112"},
		{netip.MustParsePrefix("224.0.0.0/3"), "multicast and the future"},
	}
	private4 = []block{
		{netip.MustParsePrefix("10.0.0.0/8"), "private, RFC 1918"},
		{netip.MustParsePrefix("172.16.0.0/12"), "private, RFC 1918"},
		{netip.MustParsePrefix("192.168.0.0/16"), "private, RFC 1918"},
		{netip.MustParsePrefix("100.64.0.0/10"), "shared by carriers, RFC 6598"},
	}
	private6 = []block{
		{netip.MustParsePrefix("fc00::/7"), "private, RFC 4193"},
		{netip.MustParsePrefix("64:ff9b::/96"), "translated IPv4, RFC 6052"},
		{netip.MustParsePrefix("64:ff9b:1::/48"), "translated IPv4, RFC 8215"},
	}
	reserved6 = []block{
		{netip.MustParsePrefix("::/8"), "unspecified, loopback and such"},
		{netip.MustParsePrefix("fe80::/10"), "link-local"},
		{netip.MustParsePrefix("ff00::/8"), "multicast"},
	}
	// global6 is the only IPv6 space from which strangers send (RFC 4291).
	global6 = netip.MustParsePrefix("2000::/3")
)

// reachOf says who can have an address of the prefix, and what the block that holds it is called.
func reachOf(p netip.Prefix) (reach, string) {
	reserved, private := reserved4, private4
	if !p.Addr().Is4() {
		if within(p, global6) || p.Bits() < global6.Bits() {
			return reachPublic, ""
		}
		reserved, private = reserved6, private6
	}
	for _, b := range private {
		if within(p, b.prefix) {
			return reachPrivate, b.name
		}
	}
	for _, b := range reserved {
		if within(p, b.prefix) {
			return reachReserved, b.name
		}
	}
	if p.Addr().Is4() {
		return reachPublic, ""
	}
	return reachReserved, "outside of global unicast, 2000::/3"
}
