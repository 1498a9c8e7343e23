// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"

	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/config/yaml"
)

// Check refuses bundles that cannot be in force together on a host, although each is valid. A nil host stands for the
// defaults. Its error is a *yaml.Faults whose files are the bundles.
func (s *Set) Check(host *Host) error {
	if host == nil {
		host = DefaultHost()
	}
	if len(s.bundles()) < 2 {
		return nil // all of it is checked when a bundle is read
	}
	c := &setChecker{set: s, out: yaml.NewCollector()}
	if n := len(s.Bundles); n > maxBundles {
		c.fault(s.Bundles[n-1], yaml.CodeCapacity, "", fmt.Sprintf("%d bundles", n), fmt.Sprintf("%d bundles in one set", n),
			fmt.Sprintf("at most %d", maxBundles))
	}
	if c.policies() {
		c.negatives()
		c.reasons(host)
	}
	c.capacities(host)
	for _, k := range kinds {
		k.together(c)
	}
	return c.out.Err()
}

// Warnings says what is true of the set and of no bundle by itself.
func (s *Set) Warnings() []string {
	if s.Empty() || s.Policy() != nil {
		return nil
	}
	if len(s.Bundles) > 1 {
		return []string{"none of the bundles " + words.List(s.names(), "and") + " has a policy: they count, and block nobody"}
	}
	return []string{"the bundle " + s.Bundles[0].Name + " has no policy: it counts, and blocks nobody"}
}

func (s *Set) names() []string {
	var out []string
	for _, b := range s.bundles() {
		out = append(out, b.Name)
	}
	return out
}

// maxBundles bounds a set: each bundle has a name in status, and a pipeline that makes a new name a day is a mistake.
const maxBundles = 64

type setChecker struct {
	set *Set
	out *yaml.Collector
}

func (c *setChecker) fault(b *Bundle, code, path, value, problem, valid string) {
	c.out.Add(yaml.Fault{Code: code, File: "bundle " + b.Name, Path: path, Value: words.Shorten(value), Problem: problem,
		Valid: valid})
}

// policies refuses two of them: which one decides would depend on the order of applies.
func (c *setChecker) policies() bool {
	var with []*Bundle
	for _, b := range c.set.Bundles {
		if b.HasPolicy() {
			with = append(with, b)
		}
	}
	if len(with) < 2 {
		return true
	}
	var names []string
	for _, b := range with {
		names = append(names, b.Name)
	}
	c.fault(with[len(with)-1], yaml.CodeDuplicate, "policy", "", "the bundles "+words.List(names,
		"and")+" both have a policy, and a set has one",
		"a policy in one of them; or the one taken out as the other is applied: spillway apply FILE --remove NAME")
	return false
}

// negatives keeps the promise that only the policy's bundle speaks for visitors, and whom it permits: a list that
// somebody else writes must not open what the policy closes.
func (c *setChecker) negatives() {
	policy := c.set.Policy()
	if policy == nil {
		return
	}
	for _, b := range c.set.Bundles {
		if b == policy || slices.Contains(policy.Permits, b.Name) {
			continue
		}
		var rules []string
		what := "negative scores"
		for _, r := range b.Rules {
			switch {
			case r.Verdict == RuleAllow:
				rules, what = append(rules, r.ID+" (allow)"), "rules that speak for visitors"
			case r.Score < 0:
				rules = append(rules, fmt.Sprintf("%s (%d)", r.ID, r.Score))
			}
		}
		if len(rules) > 0 {
			c.fault(b, yaml.CodeRange, "rules", words.List(rules, "and"),
				fmt.Sprintf("%s beside the policy of %s, which does not permit them", what, policy.Name),
				fmt.Sprintf("scores from 0 on, and verdict: tag; or policy: {permits: [%s]} in the bundle %s", b.Name, policy.Name))
		}
	}
}

// reasons is checkReasonScores for all bundles together.
func (c *setChecker) reasons(host *Host) {
	policy := c.set.Policy()
	if policy == nil {
		return
	}
	from := policy.blocksFrom()
	sum, parts := 0, []string{}
	last := policy
	for _, b := range c.set.Bundles {
		own := 0
		for _, f := range b.Reasons {
			if !host.Accepts(f.Reason) {
				own += max(0, b.score(f.Rule))
			}
		}
		if own > 0 {
			parts, last = append(parts, fmt.Sprintf("%d in %s", own, b.Name)), b
		}
		sum += own
	}
	if from != Never && sum >= int(from) {
		c.fault(last, yaml.CodeRange, "features.reasons", fmt.Sprintf("sum of scores %d", sum),
			fmt.Sprintf("reasons alone would block (from %d on): %s", from, words.List(parts, "and")),
			fmt.Sprintf("scores of all reasons of the set that sum up to less than %d: a lost packet is an ordinary visitor",
				from))
	}
}

func (b *Bundle) score(id string) int {
	for _, r := range b.Rules {
		if r.ID == id {
			return r.Score
		}
	}
	return 0
}

// capacities counts the set, and names what each bundle has of it.
func (c *setChecker) capacities(host *Host) {
	needs := make([]Counts, len(c.set.Bundles))
	for i, b := range c.set.Bundles {
		here, _ := b.LeaveOut(Protected(host, nil))
		needs[i] = here.Counts()
	}
	for _, room := range Rooms() {
		sum, parts, most := 0, []string{}, 0
		for i, b := range c.set.Bundles {
			n := needs[i][room.Field]
			if n > 0 {
				parts = append(parts, fmt.Sprintf("%d in %s", n, b.Name))
			}
			if n > needs[most][room.Field] {
				most = i
			}
			sum += n
		}
		if has := host.Capacity.Room(room.Field); sum > has {
			c.fault(c.set.Bundles[most], yaml.CodeCapacity, "", fmt.Sprintf("%d %s", sum, room.What),
				fmt.Sprintf("%d %s in all bundles, capacity %d: %s", sum, room.What, has, words.List(parts, "and")),
				fmt.Sprintf("at most %d (capacity.%s in the host file)", has, room.Field))
		}
	}
}
