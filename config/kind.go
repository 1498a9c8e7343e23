// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Features are the things to match, by kind. A kind is a field here, a file kind….go with its type and its row of
// kinds, and a field of Capacity; all that reads, prints, counts, compares or merges bundles ranges over kinds.
type Features struct {
	// TCP fingerprints of SYN packets.
	TCP []TCPFeature `yaml:"tcp"`
	// JA4 of ClientHellos to tls services. Of the features that match one ClientHello the most specific counts: three
	// parts before two before one, and exact before stable.
	JA4 []JA4Feature `yaml:"ja4"`
	// P0F are p0f v3 signatures of SYN packets. Of those that fit one SYN the first in the file counts; at most 8 may have
	// the same IP version and layout of TCP options. The scores of a prefix, of a TCP fingerprint, of a p0f signature and
	// of a JA4 add up.
	P0F []P0FFeature `yaml:"p0f"`
	// Reasons that the dataplane gives for packets it could not fingerprint.
	Reasons []ReasonFeature `yaml:"reasons"`
	// Pairs of a TCP stack and a TLS client that do not belong together, by the families of the catalogue.
	Pairs []PairFeature `yaml:"pairs"`
}

// kinds in the order of the canonical form, which keeps the digests of bundles.
var kinds = []kind{tcpKind, ja4Kind, p0fKind, reasonKind, pairKind}

// kind is what bundles ask of a kind of feature.
type kind interface {
	tally(b *Bundle) Tally
	load(l *bundleLoader)
	sort(b *Bundle)
	write(w *canonicalWriter, b *Bundle)
	field() string
	target() any
	read(b *Bundle, target any, rules map[string]bool) error
	change(old, new *Bundle) FeatureDiff
	relaxes(r relaxer, old, new *Bundle) bool
	merge(s *Set, out *Bundle)
	together(c *setChecker)
	matched(b *Bundle, tell func(rule, text string))
}

// family is a kind whose features have the type F. In a file and in the canonical form a feature is a mapping with its
// rule; its tags say how.
type family[F any] struct {
	key  string // ja4: in files, and before an index in the paths of faults
	what string // ja4: in a plan
	one  string // JA4 feature: one of them, for people
	this string // the JA4: before the text of one
	text string // match: the field that tells it from the others of its kind
	more string // tls: the other one, where it takes two
	room string // ja4s: its capacity; "" takes no row

	in      func(*Features) *[]F
	rule    func(*F) *string
	name    func(F) string      // what the field text says
	compare func(a, b F) int    // the order in a bundle
	unsaid  bool                // no features leave nothing in the canonical form: the kind came after the first release
	once    bool                // a rule counts once, however many of its features match
	first   bool                // of several that match one counts, the first in the order of the bundle; else all of them
	files   bool                // the order of the file tells which counts
	sound   func(F) error       // what must hold of one in the canonical form; nil: what reads it knows
	check   func(*bundleLoader) // what must hold across the file
	merged  func(*Set) []F      // nil: of several bundles all features
	crowd   func(*setChecker)   // what must hold across several bundles
}

// Tally is how many features of a kind a bundle has.
type Tally struct {
	One   string // JA4 feature: one of them, for people
	Room  string // ja4s: the capacity that they need; "" where they need none
	Count int
}

// Many is what several of them are called.
func (t Tally) Many() string { return t.One + "s" }

// Tallies counts the features of each kind.
func (b *Bundle) Tallies() []Tally {
	var out []Tally
	for _, k := range kinds {
		out = append(out, k.tally(b))
	}
	return out
}

func (k family[F]) of(b *Bundle) []F { return *k.in(&b.Features) }

func (k family[F]) tally(b *Bundle) Tally {
	return Tally{One: k.one, Room: k.room, Count: len(k.of(b))}
}

// load takes the features of the file into the bundle.
func (k family[F]) load(l *bundleLoader) {
	features := *k.in(&l.file.Features.Features)
	path := "features." + k.key
	if k.room != "" {
		if room := l.host.Capacity.Room(k.room); len(features) > room {
			l.d.capacity(path, len(features), k.tally(l.b).Many(), room, k.room)
		}
	}
	first := map[string]string{}
	for i, f := range features {
		at := fmt.Sprintf("%s[%d]", path, i)
		l.reference(at+".rule", *k.rule(&f))
		if l.d.IsSet(at+"."+k.text) && (k.more == "" || l.d.IsSet(at+"."+k.more) && !l.d.Bad[at+"."+k.more]) {
			l.d.unique(first, k.name(f), at+"."+k.text, k.this)
		}
	}
	*k.in(&l.b.Features) = append([]F(nil), features...) // nil where the file has an empty list
	if k.check != nil {
		k.check(l)
	}
}

func (k family[F]) sort(b *Bundle) { slices.SortStableFunc(k.of(b), k.compare) }

// write writes nothing where there is nothing and the first release knew no such kind: older bundles keep their
// digests.
func (k family[F]) write(w *canonicalWriter, b *Bundle) {
	features := k.of(b)
	if k.unsaid && len(features) == 0 {
		return
	}
	w.raw(`,"`, k.key, `":[`)
	for i, f := range features {
		w.comma(i)
		row, _ := json.Marshal(f) // texts always have a JSON form
		w.Write(row)
	}
	w.raw(`]`)
}

func (k family[F]) field() string { return k.key }

func (k family[F]) target() any { return new([]F) }

// read is the way back from write, once target has been decoded.
func (k family[F]) read(b *Bundle, target any, rules map[string]bool) error {
	features := *target.(*[]F)
	for i, f := range features {
		if rule := *k.rule(&f); !rules[rule] {
			return fmt.Errorf("%s %s: no rule %q", k.key, k.name(f), rule)
		}
		if k.sound != nil {
			if err := k.sound(f); err != nil {
				return fmt.Errorf("%s %s: %w", k.key, k.name(f), err)
			}
		}
		if i > 0 && k.compare(features[i-1], f) > 0 {
			return fmt.Errorf("%s %s is out of order", k.key, k.name(f))
		}
	}
	*k.in(&b.Features) = append([]F(nil), features...)
	return nil
}

// change compares in the order of the names where the bundle's says which feature counts.
func (k family[F]) change(old, new *Bundle) FeatureDiff {
	was, is := k.of(old), k.of(new)
	compare := k.compare
	if k.files {
		compare = func(a, b F) int { return strings.Compare(k.name(a), k.name(b)) }
		was, is = slices.SortedFunc(slices.Values(was), compare), slices.SortedFunc(slices.Values(is), compare)
	}
	alike := func(a, b F) bool { return *k.rule(&a) == *k.rule(&b) }
	rows := rowsOf(was, is, compare, alike)
	d := FeatureDiff{Kind: k.what, Rows: Rows[FeatureRow]{Added: k.rows(rows.Added), Removed: k.rows(rows.Removed)}}
	for _, c := range rows.Changed {
		d.Changed = append(d.Changed, Pair[FeatureRow]{k.row(c.Old), k.row(c.New)})
	}
	same := slices.EqualFunc(k.of(old), k.of(new), func(a, b F) bool { return compare(a, b) == 0 })
	d.Order = k.files && !same && len(rows.Added)+len(rows.Removed) == 0
	return d
}

func (k family[F]) matched(b *Bundle, tell func(rule, text string)) {
	for _, f := range k.of(b) {
		tell(*k.rule(&f), k.what+" "+k.name(f))
	}
}

func (k family[F]) row(f F) FeatureRow { return FeatureRow{Name: k.name(f), Rule: *k.rule(&f)} }

func (k family[F]) rows(features []F) []FeatureRow {
	var out []FeatureRow
	for _, f := range features {
		out = append(out, k.row(f))
	}
	return out
}

func (k family[F]) relaxes(r relaxer, old, new *Bundle) bool {
	rows := func(b *Bundle) (out keyed) {
		for _, f := range k.of(b) {
			out.add(k.name(f), *k.rule(&f))
		}
		return out
	}
	if k.first {
		return r.first(rows(old), rows(new))
	}
	if k.once && !r.sameRules(rows(old), rows(new)) {
		return false
	}
	return r.sums(rows(old), rows(new))
}

// merge takes the features of all bundles of a set, in the order of one bundle.
func (k family[F]) merge(s *Set, out *Bundle) {
	var all []F
	if k.merged != nil {
		all = k.merged(s)
	} else {
		for _, b := range s.bundles() {
			all = append(all, k.inside(b)...)
		}
	}
	slices.SortStableFunc(all, k.compare)
	*k.in(&out.Features) = all
}

// inside returns a bundle's features with the names that its rules have in a set.
func (k family[F]) inside(b *Bundle) []F {
	out := slices.Clone(k.of(b))
	for i := range out {
		rule := k.rule(&out[i])
		*rule = nameIn(b, *rule)
	}
	return out
}

func (k family[F]) together(c *setChecker) {
	if k.crowd != nil {
		k.crowd(c)
	}
}
