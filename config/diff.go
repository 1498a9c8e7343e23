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

// ServicePolicy is the policy of a service, or of DefaultPolicy.
type ServicePolicy struct {
	Service   string    `json:"service"`
	Drop      Threshold `json:"drop"`
	Reset     Threshold `json:"reset,omitzero"`
	Fragments Fragments `json:"fragments,omitzero"`
}

// Diff is what a bundle would change. A change of a note is one too; it has no effect on traffic, but on what is stored.
type Diff struct {
	Rules    Rows[Rule]          `json:"rules,omitzero"`
	Prefixes []ListDiff          `json:"prefixes,omitempty"` // lists with differences, by name
	TCP      Rows[TCPFeature]    `json:"tcp,omitzero"`
	JA4      Rows[JA4Feature]    `json:"ja4,omitzero"`
	P0F      Rows[P0FFeature]    `json:"p0f,omitzero"`
	Reasons  Rows[ReasonFeature] `json:"reasons,omitzero"`
	Policy   Rows[ServicePolicy] `json:"policy,omitzero"`
	// P0FOrder reports that the p0f signatures are the same, but in another order: the first that fits counts.
	P0FOrder bool `json:"p0f_order,omitempty"`
	// Intent and Name report that those differ.
	Intent bool `json:"intent,omitempty"`
	Name   bool `json:"name,omitempty"`
}

// Len returns the number of differences; 0 exactly when both bundles have the same digest.
func (d Diff) Len() int {
	n := d.Rules.Len() + d.TCP.Len() + d.JA4.Len() + d.P0F.Len() + d.Reasons.Len() + d.Policy.Len()
	for _, l := range d.Prefixes {
		n += l.Len()
	}
	for _, differs := range []bool{d.P0FOrder, d.Intent, d.Name} {
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
	signatures, order := changeSignatures(old.P0F, new.P0F)
	return Diff{
		Rules:    rowsOf(old.Rules, new.Rules, func(a, b Rule) int { return strings.Compare(a.ID, b.ID) }, sameRule),
		Prefixes: changeLists(old, new),
		TCP: rowsOf(old.TCP, new.TCP, func(a, b TCPFeature) int {
			return strings.Compare(a.Fingerprint.String(), b.Fingerprint.String())
		}, func(a, b TCPFeature) bool { return a.Rule == b.Rule }),
		JA4: rowsOf(old.JA4, new.JA4, compareJA4, func(a, b JA4Feature) bool { return a.Rule == b.Rule }),
		P0F: signatures, P0FOrder: order,
		Reasons: rowsOf(old.Reasons, new.Reasons, func(a, b ReasonFeature) int { return strings.Compare(a.Reason, b.Reason) },
			func(a, b ReasonFeature) bool { return a == b }),
		Policy: rowsOf(policies(old), policies(new), func(a, b ServicePolicy) int { return strings.Compare(a.Service, b.Service) },
			func(a, b ServicePolicy) bool { return a == b }),
		Intent: !sameIntent(old.Intent, new.Intent),
		Name:   old.Name != new.Name,
	}
}

// changeSignatures compares signatures whatever their order, and says whether the order is all that differs.
func changeSignatures(old, new []P0FFeature) (Rows[P0FFeature], bool) {
	compare := func(a, b P0FFeature) int { return strings.Compare(a.Signature.String(), b.Signature.String()) }
	sorted := func(all []P0FFeature) []P0FFeature { return slices.SortedFunc(slices.Values(all), compare) }
	rows := rowsOf(sorted(old), sorted(new), compare, func(a, b P0FFeature) bool { return a.Rule == b.Rule })
	same := slices.EqualFunc(old, new, func(a, b P0FFeature) bool { return compare(a, b) == 0 })
	return rows, !same && len(rows.Added)+len(rows.Removed) == 0
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
	return a.Label == b.Label && a.Score == b.Score && a.Note == b.Note && a.Expires.Equal(b.Expires)
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
		out = append(out, ServicePolicy{name, b.Policy[name].Drop, b.Policy[name].Reset, b.Policy[name].Fragments})
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
		d := ListDiff{List: name, Origin: wasThere && isThere && was != is, Rows: rowsOf(listRows(old, name), listRows(new, name),
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
