// SPDX-License-Identifier: Apache-2.0

package config

import "net/netip"

// widen makes IPv6 rows that are longer than bits as long as that, and returns how many it changed. They stay sorted:
// to cut addresses off keeps their order, and a row that was no longer than bits came before those inside of it.
func widen(rows []row, bits int) ([]row, int) {
	changed := 0
	out := rows[:0]
	for _, r := range rows {
		if !r.prefix.Addr().Is4() && r.prefix.Bits() > bits {
			r.prefix = netip.PrefixFrom(r.prefix.Addr(), bits).Masked()
			changed++
		}
		if len(out) == 0 || out[len(out)-1].prefix != r.prefix {
			out = append(out, r)
		}
	}
	return out, changed
}

// aggregate returns the fewest rows that have the same addresses, none wider than the floor of its family. Rows are
// sorted, and stay so.
func aggregate(rows []row, floor func(netip.Prefix) int) []row {
	out := rows[:0]
	for _, r := range rows {
		if n := len(out); n > 0 && within(r.prefix, out[n-1].prefix) {
			continue
		}
		for n := len(out); n > 0; n = len(out) {
			wider, halves := joined(out[n-1].prefix, r.prefix)
			if !halves || wider.Bits() < floor(wider) {
				break
			}
			r, out = out[n-1], out[:n-1]
			r.prefix = wider
		}
		out = append(out, r)
	}
	return out
}

// joined returns the prefix whose halves a and b are, a before b.
func joined(a, b netip.Prefix) (netip.Prefix, bool) {
	if a.Bits() != b.Bits() || a.Bits() == 0 || a.Addr().Is4() != b.Addr().Is4() || a == b {
		return netip.Prefix{}, false
	}
	wider := netip.PrefixFrom(a.Addr(), a.Bits()-1).Masked()
	return wider, wider.Contains(b.Addr())
}
