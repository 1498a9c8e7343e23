// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
)

// The codes of holds.
const (
	HoldGrowth   = "growth"
	HoldShrink   = "shrink"
	HoldCoverage = "coverage"
)

// holdFromRows is the size from which growth and shrinkage are looked at: below it, one row is already many percent.
const holdFromRows = 10

const (
	// routedIPv4 is the number of IPv4 addresses that can be routed on the Internet: 2^32 without the blocks that the
	// IANA special-purpose registry (RFC 6890), multicast and the reserved 240.0.0.0/4 take.
	routedIPv4 = 3_706_452_992
	// routedIPv6Bits is the length of 2000::/3, all that IANA has opened for routing.
	routedIPv6Bits = 3
)

// Hold is a reason why a valid bundle waits for a person, who may let it pass with a reason.
type Hold struct {
	Code    string             `json:"code"`
	What    string             `json:"what"` // list feed, rules, IPv4
	Numbers map[string]float64 `json:"numbers"`
	Text    string             `json:"text"`
}

// Holds returns why a valid bundle must wait for a person: a list, the rules or a kind of fingerprint grow or shrink by
// more than guards.max_change (looked at when either side has 10 rows), or the prefixes whose rules speak against
// visitors cover more than guards.max_coverage of a family's routed space. A nil old bundle is the first one: growth is
// then no sign of anything. A nil host stands for the defaults.
func Holds(old, new *Bundle, host *Host) []Hold {
	if host == nil {
		host = DefaultHost()
	}
	var out []Hold
	if old != nil {
		limit := host.Guards.MaxChange
		before, after := listSizes(old), listSizes(new)
		names := maps.Clone(before)
		maps.Copy(names, after)
		for _, name := range slices.Sorted(maps.Keys(names)) {
			out = holdChange(out, "list "+name, before[name], after[name], limit)
		}
		out = holdChange(out, "rules", len(old.Rules), len(new.Rules), limit)
		out = holdFeatures(out, "", old, new, limit)
	}
	v4, v6 := coverage(new)
	out = holdCoverage(out, "IPv4", v4, host.Guards.MaxCoverage)
	return holdCoverage(out, "IPv6", v6, host.Guards.MaxCoverage)
}

// SetHolds is Holds for sets. Growth is looked at for each list, for each bundle and for the set; coverage for the set.
// A bundle that is taken out shrinks nothing by mistake: somebody named it.
func SetHolds(old, new *Set, host *Host) []Hold {
	if len(old.bundles()) < 2 && len(new.bundles()) < 2 {
		if was, is := only(old), only(new); is != nil && (was == nil || was.Name == is.Name) {
			return Holds(was, is, host)
		}
	}
	if host == nil {
		host = DefaultHost()
	}
	kept := NewSet()
	for _, b := range old.bundles() {
		if new.Named(b.Name) != nil {
			kept = kept.With(b)
		}
	}
	var before *Bundle
	if !kept.Empty() {
		before = kept.merge()
	}
	out := Holds(before, new.merge(), host)
	if len(new.bundles()) < 2 {
		return out
	}
	for _, b := range new.bundles() {
		was := kept.Named(b.Name)
		if was == nil || was.Digest == b.Digest {
			continue
		}
		limit := host.Guards.MaxChange
		out = holdChange(out, "rules of "+b.Name, len(was.Rules), len(b.Rules), limit)
		out = holdFeatures(out, " of "+b.Name, was, b, limit)
	}
	return out
}

func only(s *Set) *Bundle {
	if len(s.bundles()) == 1 {
		return s.Bundles[0]
	}
	return nil
}

func listSizes(b *Bundle) map[string]int {
	out := map[string]int{}
	for _, l := range b.Prefixes {
		out[l.List] += len(l.Entries)
	}
	return out
}

// holdFeatures looks at the kinds that somebody lists: there are only a few reasons.
func holdFeatures(out []Hold, whose string, old, new *Bundle, limit Percent) []Hold {
	is := new.Tallies()
	for i, was := range old.Tallies() {
		if was.Room != "" {
			out = holdChange(out, strings.ToLower(was.Many())+whose, was.Count, is[i].Count, limit)
		}
	}
	return out
}

func holdChange(out []Hold, what string, before, after int, limit Percent) []Hold {
	if max(before, after) < holdFromRows || before == after {
		return out
	}
	code, verb := HoldGrowth, "grows"
	if after < before {
		code, verb = HoldShrink, "shrinks"
	}
	change := math.Inf(1)
	text := fmt.Sprintf("%s is new with %d rows", what, after)
	if before > 0 {
		change = math.Abs(float64(after-before)) / float64(before) * 100
		text = fmt.Sprintf("%s %s from %d to %d rows, %s", what, verb, before, after, Percent(math.Round(change*10)/10))
	}
	if change <= float64(limit) {
		return out
	}
	numbers := map[string]float64{"before": float64(before), "after": float64(after), "limit_percent": float64(limit)}
	if before > 0 {
		numbers["change_percent"] = change
	}
	return append(out, Hold{Code: code, What: what, Numbers: numbers,
		Text: fmt.Sprintf("%s; guards.max_change is %s", text, limit)})
}

func holdCoverage(out []Hold, family string, share float64, limit Percent) []Hold {
	if share*100 <= float64(limit) {
		return out
	}
	return append(out, Hold{Code: HoldCoverage, What: family, Numbers: map[string]float64{"coverage_percent": share * 100,
		"limit_percent": float64(limit)},
		Text: fmt.Sprintf("prefixes cover %s of the routed %s space; guards.max_coverage is %s",
			Percent(math.Round(share*1e4)/100), family, limit)})
}

// coverage returns the share of each family's routed space that lies in prefixes with a positive score. Overlaps count
// once.
func coverage(b *Bundle) (v4, v6 float64) {
	against := map[string]bool{}
	for _, r := range b.Rules {
		against[r.ID] = r.Score > 0
	}
	var all []netip.Prefix
	for _, l := range b.Prefixes {
		if against[l.Rule] {
			all = append(all, l.Entries...)
		}
	}
	slices.SortFunc(all, comparePrefix)
	var last netip.Prefix
	for _, p := range all {
		if last.IsValid() && within(p, last) {
			continue
		}
		last = p
		switch {
		case p.Addr().Is4():
			v4 += math.Ldexp(1, 32-p.Bits()) / routedIPv4
		case within(p, global6):
			v6 += math.Ldexp(1, routedIPv6Bits-p.Bits())
		}
	}
	return v4, v6
}
