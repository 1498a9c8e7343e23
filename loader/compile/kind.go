// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"slices"
	"sort"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// kind is a kind of feature: how those of a bundle become rows, and the maps that hold them. Reasons have none: there
// is a place for each in struct generation.
type kind struct {
	compile func(*builder) error
	maps    []Map
}

var kinds = []kind{
	{compilePrefixes, []Map{prefixes4Map, prefixes6Map, hosts6Map, far6Map}},
	{compileTCP, []Map{tcpMap}}, {compileJA4s, []Map{ja4Map}}, {compileSignatures, []Map{layoutMap}},
	{compileReasons, nil}, {compilePairs, nil},
}

// builder is what compiling a kind needs.
type builder struct {
	*config.Bundle
	index  map[string]uint16 // of rules, by their ids
	chains *chains
	img    *Image
	known  *known // what the catalogue says, where the bundle asks
	rows6  int    // of IPv6, over the maps that share them
}

// Map is a map of features in a slot.
type Map struct {
	Name string // in the dataplane
	Room string // its capacity in the host file
	Told string // in status

	rowsOf   int                           // that a feature may need; 0 is one
	fitted   func(rows int) int            // of a map that fits its rows, the most; nil: it has room for all
	beside   int                           // rows of the catalogue
	count    func(*bpf.Generation) *uint32 // nil: with that of the one before
	features func(*builder) int            // nil: one a row
	form     interface{ new() Table }
}

// Entries returns the size of the map, or where it fits its rows the most of it.
func (m Map) Entries(c config.Capacity) int {
	if m.fitted != nil {
		return m.fitted(c.Room(m.Room))
	}
	return max(m.rowsOf, 1)*c.Room(m.Room) + m.beside
}

// Least returns how many rows a map that fits them must have to be so large; 0 where it has room for all.
func (m Map) Least(entries int) int {
	if m.fitted == nil || m.fitted(0) >= entries {
		return 0
	}
	return sort.Search(1<<31, func(rows int) bool { return m.fitted(rows) >= entries })
}

// Maps returns the maps of features that a slot has.
func Maps() []Map {
	var out []Map
	for _, k := range kinds {
		out = append(out, k.maps...)
	}
	return out
}

// Counted returns those that count rows: one for each kind of row that people know.
func Counted() []Map {
	return slices.DeleteFunc(Maps(), func(m Map) bool { return m.count == nil })
}

// GenerationMaps names the maps of a slot. The first says whether the slot is filled.
func GenerationMaps() []string {
	out := []string{bpf.DataplaneMapGenerations, bpf.DataplaneMapRules}
	for _, m := range Maps() {
		out = append(out, m.Name)
	}
	return out
}

// Counts returns the rules and features of a generation, by the names of their capacities.
func Counts(g *bpf.Generation) config.Counts {
	out := config.Counts{"rules": int(g.RuleCount)}
	for _, m := range Counted() {
		out[m.Room] = int(*m.count(g))
	}
	return out
}
