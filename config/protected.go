// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/spillway/spillway/config/words"
)

// guarded is a prefix that no entry may lie in, and why.
type guarded struct {
	prefix netip.Prefix
	why    string
}

// protectedSet holds the sources that the host file protects and the host's own addresses.
type protectedSet struct {
	all []guarded
	// outer holds those that lie in no other, sorted: they are disjoint, so a walk over sorted rows needs one pointer.
	outer []guarded
}

func newProtectedSet(host *Host, own []netip.Addr) *protectedSet {
	s := &protectedSet{}
	for _, p := range host.Sources() {
		p.Name = words.Shorten(p.Name)
		s.all = append(s.all, guarded{p.Prefix, p.String()})
	}
	for _, addr := range own {
		addr = addr.Unmap().WithZone("")
		if addr.IsValid() {
			s.all = append(s.all, guarded{netip.PrefixFrom(addr, addr.BitLen()), "this host's own address " + addr.String()})
		}
	}
	slices.SortStableFunc(s.all, func(a, b guarded) int { return comparePrefix(a.prefix, b.prefix) })
	for _, g := range s.all {
		if n := len(s.outer); n == 0 || !within(g.prefix, s.outer[n-1].prefix) {
			s.outer = append(s.outer, g)
		}
	}
	return s
}

// each walks rows in order and calls inside for each that is equal to or inside a guarded prefix.
func (s *protectedSet) each(rows []row, inside func(row, guarded)) {
	walk := guardWalk{outer: s.outer}
	for _, r := range rows {
		if g, ok := walk.find(r.prefix); ok {
			inside(r, g)
		}
	}
}

// guardWalk looks sorted prefixes up in sorted guarded ones that are disjoint.
type guardWalk struct {
	outer []guarded
	next  int
}

// find returns the guarded prefix that p is equal to or inside of. No p may come before the one asked for last.
func (w *guardWalk) find(p netip.Prefix) (guarded, bool) {
	for w.next+1 < len(w.outer) && w.outer[w.next+1].prefix.Addr().Compare(p.Addr()) <= 0 {
		w.next++
	}
	if w.next < len(w.outer) && within(p, w.outer[w.next].prefix) {
		return w.outer[w.next], true
	}
	return guarded{}, false
}

// carved returns the guarded prefixes that lie inside a wider one of the sorted rows.
func (s *protectedSet) carved(rows []row) []netip.Prefix {
	var out []netip.Prefix
	for _, g := range s.all {
		for bits := g.prefix.Bits() - 1; bits > 0; bits-- {
			wider, _ := g.prefix.Addr().Prefix(bits)
			if _, ok := slices.BinarySearchFunc(rows, wider,
				func(r row, p netip.Prefix) int { return comparePrefix(r.prefix, p) }); ok {
				out = append(out, g.prefix)
				break
			}
		}
	}
	return out
}

func (g guarded) problem(p netip.Prefix) string {
	return fmt.Sprintf("%s lies in %s", p, g.why)
}
