// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"time"
)

// Relaxes reports whether the new set can only let more pass than the old one: whatever connection comes from now on,
// its score is at most what it was, what allowed it still does, and no threshold from which it may be blocked is lower.
// It is exact for prefixes and for kinds of features that add up; of the others, where one that is gone makes room for
// another, it says no when it cannot tell. Of limits it compares the rates, and not who has one together: a connection
// that was dropped and is limited now takes part in the rate of its key.
func Relaxes(old, new *Set, now time.Time) bool {
	before, after := old.merge(), new.merge()
	if !after.blocks() {
		return true
	}
	if new.host() != old.host() && !new.host().IsZero() {
		return false
	}
	r := relaxer{now: now, old: rulesByID(before), new: rulesByID(after)}
	stricter := func(k kind) bool { return !k.relaxes(r, before, after) }
	return r.policies(before, after) && r.lists(before, after) && !slices.ContainsFunc(kinds, stricter)
}

// blocks reports whether a policy of the bundle can block anyone.
func (b *Bundle) blocks() bool { return b.blocksFrom() != Never }

type relaxer struct {
	now      time.Time
	old, new map[string]Rule
}

func rulesByID(b *Bundle) map[string]Rule {
	out := make(map[string]Rule, len(b.Rules))
	for _, r := range b.Rules {
		out[r.ID] = r
	}
	return out
}

func (r relaxer) policies(old, new *Bundle) bool {
	names := []string{DefaultPolicy}
	for _, b := range []*Bundle{old, new} {
		for name := range b.Policy {
			names = append(names, name)
		}
	}
	for _, name := range names {
		was, is := old.PolicyFor(name), new.PolicyFor(name)
		if lower(is.Drop, was.Drop) || lower(is.Reset, was.Reset) || is.Fragments == FragmentsDrop &&
			was.Fragments != FragmentsDrop || !limitRelaxes(was, is) {
			return false
		}
	}
	return true
}

// limitRelaxes reports whether a limit is no stricter than it was. One that is new is stricter, also where it takes the
// place of a block: what was blocked would use up the rate of others, and under max_verdict nothing was.
func limitRelaxes(was, is Policy) bool {
	switch {
	case is.Limit == Never:
		return true
	case was.Limit == Never, lower(is.Limit, was.Limit), is.Cuts() != was.Cuts():
		return false
	}
	return is.Rate.noStricterThan(was.Rate)
}

// value is the score of one match in time: of one rule, or of several that add up.
type value []Rule

// allowScore is less than all scores that a connection can have together: nothing makes up for a rule that allowed.
const allowScore = -1_000_000_000

// at returns the score at a moment.
func (v value) at(t time.Time) int {
	sum := 0
	for _, r := range v {
		switch {
		case !r.Expires.IsZero() && !r.Expires.After(t):
		case r.Verdict == RuleAllow:
			sum += allowScore
		default:
			sum += r.Score // of a rule that tags it is 0
		}
	}
	return sum
}

// moments are now and all later ones at which the score of a value changes.
func (r relaxer) moments(values ...value) []time.Time {
	out := []time.Time{r.now}
	for _, v := range values {
		for _, rule := range v {
			if rule.Expires.After(r.now) {
				out = append(out, rule.Expires)
			}
		}
	}
	return out
}

// atMost reports whether a value is never more than another from now on.
func (r relaxer) atMost(is, was value) bool {
	for _, t := range r.moments(is, was) {
		if is.at(t) > was.at(t) {
			return false
		}
	}
	return true
}

// bounds returns the least and the greatest score from now on.
func (r relaxer) bounds(v value) (least, most int) {
	least, most = math.MaxInt, math.MinInt
	for _, t := range r.moments(v) {
		least, most = min(least, v.at(t)), max(most, v.at(t))
	}
	return least, most
}

// rows are what matches at most once, by its text, in the order in which it is looked at; the rules of each.
type keyed struct {
	order []string
	rules map[string][]string
}

func (k *keyed) add(key, rule string) {
	if k.rules == nil {
		k.rules = map[string][]string{}
	}
	if _, known := k.rules[key]; !known {
		k.order = append(k.order, key)
	}
	k.rules[key] = append(k.rules[key], rule)
}

func valueOf(rules map[string]Rule, ids []string) value {
	var v value
	for _, id := range ids {
		v = append(v, rules[id])
	}
	return v
}

// sums compares rows that match independently of each other.
func (r relaxer) sums(old, new keyed) bool {
	for key := range old.rules {
		if _, stays := new.rules[key]; !stays && !r.atMost(nil, valueOf(r.old, old.rules[key])) {
			return false
		}
	}
	for key, ids := range new.rules {
		if !r.atMost(valueOf(r.new, ids), valueOf(r.old, old.rules[key])) {
			return false
		}
	}
	return true
}

// sameRules reports whether no row has a rule with a score that it did not have before: where a rule counts once for
// all of them, one more may add to what others had together.
func (r relaxer) sameRules(old, new keyed) bool {
	for key, ids := range new.rules {
		for _, id := range ids {
			if _, most := r.bounds(value{r.new[id]}); most > 0 && !slices.Contains(old.rules[key], id) {
				return false
			}
		}
	}
	return true
}

// first compares rows of which one counts. A row that is gone may make room for any that is there, and a new one may
// come before any that was.
func (r relaxer) first(old, new keyed) bool {
	if !sameOrder(old, new) {
		return false
	}
	lowest, highest := 0, 0
	for _, ids := range old.rules {
		least, _ := r.bounds(valueOf(r.old, ids))
		lowest = min(lowest, least)
	}
	for _, ids := range new.rules {
		_, most := r.bounds(valueOf(r.new, ids))
		highest = max(highest, most)
	}
	for key, ids := range new.rules {
		is := valueOf(r.new, ids)
		was, stays := old.rules[key]
		if _, most := r.bounds(is); stays && !r.atMost(is, valueOf(r.old, was)) || !stays && most > lowest {
			return false
		}
	}
	for key, ids := range old.rules {
		if _, stays := new.rules[key]; stays {
			continue
		}
		if least, _ := r.bounds(valueOf(r.old, ids)); least < highest {
			return false
		}
	}
	return true
}

// sameOrder reports whether the rows that both have come in one order.
func sameOrder(old, new keyed) bool {
	common := func(of, in keyed) []string {
		return slices.DeleteFunc(slices.Clone(of.order), func(key string) bool { return in.rules[key] == nil })
	}
	return slices.Equal(common(old, new), common(new, old))
}

// listRow is one row of a list in one of the two sets.
type listRow struct {
	prefix netip.Prefix
	rule   string
	isNew  bool
}

// lists compares list by list: at every prefix that either of both names, the longest match.
func (r relaxer) lists(old, new *Bundle) bool {
	rows := map[string][]listRow{}
	collect := func(b *Bundle, isNew bool) {
		for _, l := range b.Prefixes {
			for _, p := range l.Entries {
				rows[l.List] = append(rows[l.List], listRow{p, l.Rule, isNew})
			}
		}
	}
	collect(old, false)
	collect(new, true)
	for _, list := range rows {
		if !r.list(list) {
			return false
		}
	}
	return true
}

func (r relaxer) list(rows []listRow) bool {
	slices.SortFunc(rows, func(a, b listRow) int {
		return cmp.Or(comparePrefix(a.prefix, b.prefix), boolOrder(a.isNew, b.isNew))
	})
	var open []listRow // those around the one at hand, the longest last
	for i := 0; i < len(rows); {
		at := rows[i].prefix
		for len(open) > 0 && !within(at, open[len(open)-1].prefix) {
			open = open[:len(open)-1]
		}
		for ; i < len(rows) && rows[i].prefix == at; i++ {
			open = append(open, rows[i])
		}
		if !r.atMost(r.longest(open, true), r.longest(open, false)) {
			return false
		}
	}
	return true
}

func boolOrder(a, b bool) int {
	if a == b {
		return 0
	} else if a {
		return 1
	}
	return -1
}

func (r relaxer) longest(open []listRow, isNew bool) value {
	for _, row := range slices.Backward(open) {
		if row.isNew != isNew {
			continue
		}
		if isNew {
			return value{r.new[row.rule]}
		}
		return value{r.old[row.rule]}
	}
	return nil
}
