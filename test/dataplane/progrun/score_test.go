// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config"
)

// Longest match within a list, sum over lists, negative scores speak for the source.
func TestScoresAddUpOverLists(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		wide, narrow, one := f.nested()
		p := borrow(t).site(f, nothing())
		for name, c := range map[string]struct {
			draft *draft
			want  result
		}{
			"one list reaches the threshold": {rules().rule("a", 80).list("x", "a", wide), drops("prefix")},
			"one list stays below":           {rules().rule("a", 79).list("x", "a", wide), passes("below_threshold")},
			"two lists add up": {rules().rule("a", 40).rule("b", 40).list("x", "a", wide).list("y", "b", wide),
				drops("prefix")},
			"two lists stay below": {rules().rule("a", 40).rule("b", 39).list("x", "a", wide).list("y", "b", one),
				passes("below_threshold")},
			"different lengths add up": {rules().rule("a", 40).rule("b", 40).list("x", "a", wide).list("y", "b", one),
				drops("prefix")},
			"within a list the longest counts": {rules().rule("a", 90).rule("b", 10).list("x", "a", wide).list("x", "b", one),
				passes("below_threshold")},
			"and only the longest": {
				rules().rule("a", 40).rule("b", 40).list("x", "a", wide).list("x", "b", narrow), passes("below_threshold")},
			"the longest of three": {rules().rule("a", 10).rule("b", 20).rule("c", 80).list("x", "a", wide).
				list("x", "b", narrow).list("x", "c", one), drops("prefix")},
			"a negative score speaks for it": {
				rules().rule("a", 100).rule("b", -30).list("x", "a", wide).list("y", "b", one), passes("below_threshold")},
			"not enough": {
				rules().rule("a", 100).rule("b", -20).list("x", "a", wide).list("y", "b", one), drops("prefix")},
			"negative alone": {rules().rule("b", -100).list("y", "b", wide), passes("below_threshold")},
			"sums below zero do not wrap": {rules().rule("b", -100).rule("c", -100).rule("d", -100).list("x", "b", wide).
				list("y", "c", wide).list("z", "d", wide), passes("below_threshold")},
			"sums over 100 do not wrap": {rules().rule("a", 100).rule("b", 100).rule("c", 100).list("x", "a", wide).
				list("y", "b", wide).list("z", "c", wide), drops("prefix")},
			"eight lists":             {f.lists(8, 10), drops("prefix")},
			"eight lists below":       {f.lists(8, 9), passes("below_threshold")},
			"a score of zero matches": {rules().rule("a", 0).list("x", "a", wide), passes("below_threshold")},
			"a fingerprint adds": {rules().rule("a", 40).rule("b", 50).list("x", "a", wide).tcp("b", browserFP),
				drops("tcp_fingerprint")},
			"a fingerprint alone": {rules().rule("a", 80).tcp("a", browserFP), drops("tcp_fingerprint")},
			"the heaviest names the reason": {rules().rule("a", 50).rule("b", 40).list("x", "a", wide).tcp("b", browserFP),
				drops("prefix")},
			"a fingerprint speaks for it": {
				rules().rule("a", 100).rule("b", -50).list("x", "a", wide).tcp("b", browserFP), passes("below_threshold")},
			"another fingerprint does not match": {rules().rule("a", 100).tcp("a", scannerFP), passes("no_match")},
			"a policy of never": {rules().rule("a", 100).list("x", "a", wide).drop("default", config.Never),
				passes("below_threshold")},
			"a threshold of 1": {rules().rule("a", 1).list("x", "a", wide).drop("web", 1), drops("prefix")},
			"another service's policy": {rules().rule("a", 50).list("x", "a", wide).drop("dns", 1),
				passes("below_threshold")},
			"the service's own before the other": {rules().rule("a", 90).list("x", "a", wide).drop("web", 95),
				passes("below_threshold")},
		} {
			p.swap(c.draft.bundle())
			p.want(name, f.syn(f.visitor), c.want)
			p.want(name+", a source in no list", f.scan(f.other), otherSource(c.draft))
		}
	})
}

// otherSource is what a scanner's SYN gets that no list knows.
func otherSource(d *draft) result {
	for _, f := range d.b.TCP {
		if f.Fingerprint.String() == scannerFP {
			return drops("tcp_fingerprint")
		}
	}
	return passes("no_match")
}

// nested returns prefixes around the visitor, one inside the other.
func (f family) nested() (wide, narrow, one netip.Prefix) {
	bits := f.visitor.BitLen()
	at := func(n int) netip.Prefix { return netip.PrefixFrom(f.visitor, n).Masked() }
	return at(bits * 3 / 4), at(bits * 7 / 8), at(bits)
}

// lists puts the visitor on n lists of the same score each.
func (f family) lists(n, score int) *draft {
	d := rules()
	for i := range n {
		name := string(rune('a' + i))
		d.rule(name, score).list(name, name, host(f.visitor))
	}
	return d
}

// Every rule that matched is counted once for each packet, and no other.
func TestRulesThatMatchAreCounted(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, nothing())
		p.swap(rules().rule("zero", 1).rule("one", 40).rule("two", 30).rule("three", 90).
			list("x", "one", host(f.visitor)).list("y", "zero", host(f.bot)).list("y", "two", host(f.visitor)).
			tcp("three", scannerFP).bundle())
		for range 3 {
			p.want("a visitor on two lists", f.syn(f.visitor), passes("below_threshold"))
		}
		p.want("that scans", f.scan(f.visitor), drops("tcp_fingerprint"))
		p.want("on no list", f.syn(f.other), passes("no_match"))
		got, err := p.RuleHits(p.Control().Stable)
		p.must(err)
		if diff := cmp.Diff(map[uint16]uint64{1: 4, 2: 4, 3: 1}, got); diff != "" {
			t.Errorf("hits by rule (-want +got):\n%s", diff)
		}
	})
}

// A rule ends by itself, at its time, in the kernel.
func TestRulesExpire(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, nothing())
		p.swap(rules().ruleUntil("past", 100, time.Now().Add(-time.Second)).
			ruleUntil("future", 50, time.Now().Add(time.Hour)).
			list("x", "past", host(f.visitor)).list("y", "future", host(f.visitor)).tcp("past", scannerFP).bundle())
		p.want("an ended rule counts for nothing beside a live one", f.scan(f.visitor), passes("below_threshold"))
		p.want("an ended rule is no match", f.scan(f.other), passes("no_match"))

		end := p.swapExpiring(func(until time.Time) *draft {
			return rules().ruleUntil("short", 100, until).list("x", "short", host(f.visitor))
		}, func() bool { return p.send(f.syn(f.visitor).Bytes()) == drops("prefix") })
		p.poll("a rule that ends", func() bool { return p.send(f.syn(f.visitor).Bytes()) == passes("no_match") })
		if time.Now().Before(end) {
			t.Error("the rule ended before its time")
		}
	})
}

// swapExpiring publishes a bundle whose rule ends soon, and sees it in force before: a machine that was too slow to see
// it gets a longer time.
func (p *plane) swapExpiring(draft func(until time.Time) *draft, inForce func() bool) time.Time {
	p.t.Helper()
	for ttl := 2 * time.Second; ttl < 60*time.Second; ttl *= 2 {
		until := time.Now().Add(ttl)
		p.swap(draft(until).bundle())
		if inForce() {
			return until
		}
		if time.Now().Before(until) {
			p.t.Fatal("a rule that has not ended is not in force")
		}
	}
	p.t.Fatal("the machine is too slow to see a rule of a minute in force")
	return time.Time{}
}
