// SPDX-License-Identifier: Apache-2.0

package config

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Pair is a row before and after.
type Pair[T any] struct {
	Old T `json:"old"`
	New T `json:"new"`
}

// Rows are the differences of one kind of row. Callers that print cap them: there may be millions.
type Rows[T any] struct {
	Added   []T       `json:"added,omitempty"`
	Removed []T       `json:"removed,omitempty"`
	Changed []Pair[T] `json:"changed,omitempty"`
}

// Len returns the number of differences.
func (r Rows[T]) Len() int { return len(r.Added) + len(r.Removed) + len(r.Changed) }

// PrefixRow is one prefix of a list and its rule.
type PrefixRow struct {
	Prefix netip.Prefix `json:"prefix"`
	Rule   string       `json:"rule"`
}

// ListDiff are the differences of one prefix list.
type ListDiff struct {
	List string `json:"list"`
	// Origin reports that the list became third_party, or is it no longer.
	Origin bool `json:"origin,omitempty"`
	Rows[PrefixRow]
}

// Len returns the number of differences.
func (d ListDiff) Len() int {
	if d.Origin {
		return d.Rows.Len() + 1
	}
	return d.Rows.Len()
}

// FeatureRow is a feature and its rule.
type FeatureRow struct {
	Name string `json:"name"`
	Rule string `json:"rule"`
}

// FeatureDiff are the differences of one kind of feature.
type FeatureDiff struct {
	Kind string `json:"kind"` // tcp, ja4, p0f, reason, pair
	// Order reports that the features are the same, but in another order, and that the first that fits counts.
	Order bool `json:"order,omitempty"`
	Rows[FeatureRow]
}

// Len returns the number of differences.
func (d FeatureDiff) Len() int {
	if d.Order {
		return d.Rows.Len() + 1
	}
	return d.Rows.Len()
}

// ServicePolicy is the policy of a service, or of DefaultPolicy.
type ServicePolicy struct {
	Service   string    `json:"service"`
	Drop      Threshold `json:"drop"`
	Reset     Threshold `json:"reset,omitzero"`
	Fragments Fragments `json:"fragments,omitzero"`
	Tag       Threshold `json:"tag,omitzero"`
	Limit     Threshold `json:"limit,omitzero"`
	Rate      Rate      `json:"rate,omitzero"`
}

// Diff is what a bundle would change. A change of a note is one too; it has no effect on traffic, but on what is
// stored.
type Diff struct {
	Rules    Rows[Rule]          `json:"rules,omitzero"`
	Prefixes []ListDiff          `json:"prefixes,omitempty"` // lists with differences, by name
	Features []FeatureDiff       `json:"features,omitempty"` // kinds with differences
	Policy   Rows[ServicePolicy] `json:"policy,omitzero"`
	// Intent and Name report that those differ.
	Intent bool `json:"intent,omitempty"`
	Name   bool `json:"name,omitempty"`
}

// Len returns the number of differences; 0 exactly when both bundles have the same digest.
func (d Diff) Len() int {
	n := d.Rules.Len() + d.Policy.Len()
	for _, k := range d.Features {
		n += k.Len()
	}
	for _, l := range d.Prefixes {
		n += l.Len()
	}
	for _, differs := range []bool{d.Intent, d.Name} {
		if differs {
			n++
		}
	}
	return n
}

// Change returns what differs between two bundles. A nil bundle is empty.
func Change(old, new *Bundle) Diff {
	if old == nil {
		old = &Bundle{Name: nameOrEmpty(new)}
	}
	if new == nil {
		new = &Bundle{Name: old.Name}
	}
	var features []FeatureDiff
	for _, k := range kinds {
		if f := k.change(old, new); f.Len() > 0 {
			features = append(features, f)
		}
	}
	return Diff{
		Rules:    rowsOf(old.Rules, new.Rules, func(a, b Rule) int { return strings.Compare(a.ID, b.ID) }, sameRule),
		Prefixes: changeLists(old, new),
		Features: features,
		Policy: rowsOf(policies(old), policies(new), func(a, b ServicePolicy) int {
			return strings.Compare(a.Service, b.Service)
		},
			func(a, b ServicePolicy) bool { return a == b }),
		Intent: !sameIntent(old.Intent, new.Intent),
		Name:   old.Name != new.Name,
	}
}

func nameOrEmpty(b *Bundle) string {
	if b == nil {
		return ""
	}
	return b.Name
}

// rowsOf walks two sorted lists side by side.
func rowsOf[T any](old, new []T, order func(a, b T) int, same func(a, b T) bool) Rows[T] {
	var out Rows[T]
	for len(old) > 0 && len(new) > 0 {
		switch c := order(old[0], new[0]); {
		case c < 0:
			out.Removed, old = append(out.Removed, old[0]), old[1:]
		case c > 0:
			out.Added, new = append(out.Added, new[0]), new[1:]
		default:
			if !same(old[0], new[0]) {
				out.Changed = append(out.Changed, Pair[T]{old[0], new[0]})
			}
			old, new = old[1:], new[1:]
		}
	}
	out.Removed = append(out.Removed, old...)
	out.Added = append(out.Added, new...)
	return out
}

func sameRule(a, b Rule) bool {
	return a.Label == b.Label && a.Score == b.Score && a.Verdict == b.Verdict && a.Note == b.Note &&
		a.Expires.Equal(b.Expires)
}

func sameIntent(a, b *Intent) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.NewBlocks == b.NewBlocks && slices.Equal(a.By, b.By)
}

func policies(b *Bundle) []ServicePolicy {
	var out []ServicePolicy
	for _, name := range slices.Sorted(maps.Keys(b.Policy)) {
		p := b.Policy[name]
		out = append(out, ServicePolicy{name, p.Drop, p.Reset, p.Fragments, p.Tag, p.Limit, p.Rate})
	}
	return out
}

// changeLists compares list by list, whatever the rules their rows point to.
func changeLists(old, new *Bundle) []ListDiff {
	before, after := listOrigins(old), listOrigins(new)
	names := maps.Clone(before)
	maps.Copy(names, after)
	var out []ListDiff
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, wasThere := before[name]
		is, isThere := after[name]
		d := ListDiff{List: name, Origin: wasThere && isThere && was != is,
			Rows: rowsOf(listRows(old, name), listRows(new, name),
				func(a, b PrefixRow) int { return comparePrefix(a.Prefix, b.Prefix) },
				func(a, b PrefixRow) bool { return a.Rule == b.Rule })}
		if d.Len() > 0 {
			out = append(out, d)
		}
	}
	return out
}

// listOrigins returns the lists of a bundle and whether each is third_party.
func listOrigins(b *Bundle) map[string]bool {
	out := map[string]bool{}
	for _, l := range b.Prefixes {
		out[l.List] = l.ThirdParty
	}
	return out
}

// listRows returns the rows of one list, sorted.
func listRows(b *Bundle, name string) []PrefixRow {
	var out []PrefixRow
	parts := 0
	for _, l := range b.Prefixes {
		if l.List != name {
			continue
		}
		parts++
		out = slices.Grow(out, len(l.Entries))
		for _, p := range l.Entries {
			out = append(out, PrefixRow{p, l.Rule})
		}
	}
	if parts > 1 {
		slices.SortFunc(out, func(a, b PrefixRow) int { return comparePrefix(a.Prefix, b.Prefix) })
	}
	return out
}
