// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	edgeBundle = `version: 1
name: edge
rules: [{id: bad, label: denied, score: 100}, {id: python, label: scripted, score: 50}, {id: partner, label: partner, score: -60}]
features:
  prefixes: [{list: own, rule: bad, entries: [198.51.100.0/24]}]
  tcp: [{rule: bad, muonfp: "1024:2:1460:"}]
  ja4: [{rule: python, match: t13d1516h2_*_*}, {rule: partner, match: t13d1516h2_8daaf6152771_02713d6af862}]
policy: {default: {drop: 80}, permits: [trusted]}
`
	feedOfSet = `version: 1
name: feed
rules: [{id: listed, label: reputation, score: 60}, {id: bad, label: scanner, score: 40}]
features:
  prefixes: [{list: own, rule: listed, entries: [198.51.100.0/25, 203.0.113.0/24]}]
  tcp: [{rule: bad, muonfp: "1024:2:1460:"}]
  ja4: [{rule: listed, match: t13d1516h2_8daaf6152771_*}]
  reasons: [{rule: bad, reason: fragment}]
`
)

func setOf(t testing.TB, texts ...string) *Set {
	t.Helper()
	s := NewSet()
	for _, text := range texts {
		s = s.With(mustBundle(t, text, nil))
	}
	return s
}

func TestSetIsNamedByItsDigest(t *testing.T) {
	edge, feed := mustBundle(t, edgeBundle, nil), mustBundle(t, feedOfSet, nil)
	one := NewSet(edge)
	if one.Digest != edge.Digest || one.Name() != "edge" || one.Merge() != edge {
		t.Errorf("a set of one is %s %s", one.Name(), one.Digest)
	}
	both, other := NewSet(edge, feed), NewSet(feed, edge)
	if both.Digest != other.Digest || both.Digest == edge.Digest || both.Name() != "edge, feed" {
		t.Errorf("the order counts: %s and %s, %s", both.Digest, other.Digest, both.Name())
	}
	data := CanonicalMembers(both.Members())
	members, err := ParseMembers(data)
	if err != nil || DigestOfMembers(members) != both.Digest {
		t.Errorf("read back %v, %v", members, err)
	}
	for _, bad := range []string{"", "{}", string(data[1:]), strings.Replace(string(data), "edge", "zdge", 1),
		string(CanonicalMembers(one.Members())), string(data) + "\n"} {
		if _, err := ParseMembers([]byte(bad)); !errors.Is(err, ErrNotCanonical) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := ParseCanonical(data); !errors.Is(err, ErrNotCanonical) {
		t.Errorf("a set is taken for a bundle: %v", err)
	}
	if got := both.Without("feed"); got.Digest != edge.Digest || !both.Without("feed").Without("edge").Empty() {
		t.Errorf("without one: %s", got.Digest)
	}
	if got := both.With(mustBundle(t, strings.Replace(feedOfSet, "score: 60", "score: 61", 1), nil)); len(
		got.Bundles) != 2 || got.Digest == both.Digest {
		t.Error("a bundle of the same name takes the place of the other")
	}
	if got := both.Policy(); got != edge {
		t.Errorf("the policy is in %v", got)
	}
}

// The names of several are the bundles' own, lists stay apart, and what both name adds up.
func TestSetMerges(t *testing.T) {
	got := setOf(t, edgeBundle, feedOfSet).Merge()
	var lines []string
	for _, r := range got.Rules {
		lines = append(lines, "rule "+r.ID)
	}
	for _, l := range got.Prefixes {
		lines = append(lines, fmt.Sprintf("list %s rule %s %v", l.List, l.Rule, l.Entries))
	}
	for _, f := range got.TCP {
		lines = append(lines, fmt.Sprintf("tcp %s %s", f.Fingerprint, f.Rule))
	}
	for _, f := range got.JA4 {
		lines = append(lines, fmt.Sprintf("ja4 %s %s", f, f.Rule))
	}
	for _, f := range got.Reasons {
		lines = append(lines, fmt.Sprintf("reason %s %s", f.Reason, f.Rule))
	}
	want := []string{
		"rule edge/bad", "rule edge/partner", "rule edge/python", "rule feed/bad", "rule feed/listed",
		"list edge/own rule edge/bad [198.51.100.0/24]", "list feed/own rule feed/listed [198.51.100.0/25 203.0.113.0/24]",
		"tcp 1024:2:1460: edge/bad", "tcp 1024:2:1460: feed/bad",
		// The most specific counts, with the most specific one that covers it of the other bundle.
		"ja4 t13d1516h2_*_* edge/python",
		"ja4 t13d1516h2_8daaf6152771_* edge/python", "ja4 t13d1516h2_8daaf6152771_* feed/listed",
		"ja4 t13d1516h2_8daaf6152771_02713d6af862 edge/partner", "ja4 t13d1516h2_8daaf6152771_02713d6af862 feed/listed",
		"reason fragment feed/bad",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.PolicyFor("web").Drop != 80 || got.Name != "edge, feed" {
		t.Errorf("policy %+v of %s", got.PolicyFor("web"), got.Name)
	}
}

// The policy's signatures come first, whatever the names; an equal one adds up.
func TestSetMergesSignatures(t *testing.T) {
	text := func(name, sigs, policy string) string {
		return "version: 1\nname: " + name + "\nrules: [{id: a, label: a, score: 9}]\nfeatures:\n  p0f: [" +
			sigs + "]\n" + policy
	}
	s := setOf(t,
		text("a", `{rule: a, signature: "4:64:0:*:*,*:mss::0"}, {rule: a, signature: "*:64:0:*:*,*:mss::0"}`, ""),
		text("z", `{rule: a, signature: "*:64:0:*:*,*:mss::0"}`, "policy: {default: {drop: 80}}\n"))
	var got []string
	for _, f := range s.Merge().P0F {
		got = append(got, f.Rule+" "+f.Signature.String())
	}
	if diff := cmp.Diff([]string{"z/a *:64:0:*:*,*:mss::0", "a/a 4:64:0:*:*,*:mss::0", "a/a *:64:0:*:*,*:mss::0"},
		got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Each row is a set and what is wrong with it: the bundle, and words that the fault must have.
func TestSetIsRefused(t *testing.T) {
	feed := func(changes ...string) string { return strings.NewReplacer(changes...).Replace(feedOfSet) }
	p0f := func(name string, n, first int) string {
		var rows []string
		for i := range n {
			rows = append(rows, fmt.Sprintf(`{rule: a, signature: "*:64:0:*:%d,*:mss::0"}`, first+i))
		}
		return "version: 1\nname: " + name + "\nrules: [{id: a, label: a, score: 9}]\nfeatures: {p0f: [" +
			strings.Join(rows, ", ") + "]}\n"
	}
	for _, c := range []struct {
		name  string
		texts []string
		room  func(*Capacity)
		want  []string // "" is valid
	}{
		{"valid", []string{edgeBundle, feedOfSet}, nil, nil},
		{"two policies", []string{edgeBundle, feed("policy", "") + "policy: {default: {drop: never}}\n"}, nil,
			[]string{"bundle feed", "edge and feed both have a policy", "--remove NAME"}},
		{"negative", []string{edgeBundle, feed("score: 60", "score: -1")}, nil,
			[]string{"bundle feed", "listed (-1)", "policy of edge", "permits: [feed]"}},
		{"negative with a permit", []string{edgeBundle, feed("score: 60", "score: -1", "name: feed", "name: trusted")}, nil,
			nil},
		{"negative without a policy", []string{feed("score: 60", "score: -1"), feed("name: feed", "name: other")}, nil, nil},
		{"reasons",
			[]string{strings.Replace(edgeBundle, "policy:", "  reasons: [{rule: python, reason: midstream}]\npolicy:", 1),
				feedOfSet}, nil,
			[]string{"bundle feed", "sum of scores 90", "50 in edge and 40 in feed", "from 80 on"}},
		{"rules", []string{edgeBundle, feedOfSet}, func(c *Capacity) { c.Rules = 4 },
			[]string{"bundle edge", "5 rules in all bundles, capacity 4: 3 in edge and 2 in feed"}},
		{"prefixes", []string{edgeBundle, feedOfSet}, func(c *Capacity) { c.Prefixes4 = 2 },
			[]string{"bundle feed", "3 IPv4 prefixes in all bundles, capacity 2: 1 in edge and 2 in feed"}},
		{"signatures", []string{p0f("a", 5, 1), p0f("b", 4, 6)}, nil,
			[]string{"bundle b", "9 signatures for IPv4", "(a)", "(b)", "at most 8"}},
		{"equal signatures", []string{p0f("a", 5, 1), p0f("b", 4, 1)}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := testHost()
			if c.room != nil {
				c.room(&host.Capacity)
			}
			err := setOf(t, c.texts...).Check(host)
			if c.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			text := mustFaults(t, err).List[0].String()
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("%q does not say %q", text, want)
				}
			}
		})
	}
}

func TestPermits(t *testing.T) {
	b := mustBundle(t, edgeBundle, nil)
	stored, err := ParseCanonical(Canonical(b))
	if err != nil || len(stored.Permits) != 1 || stored.Digest != b.Digest {
		t.Errorf("read back %v, %v", stored, err)
	}
	for name, want := range map[string]string{
		"policy: {default: {drop: 80}, permits: [No]}":      "syntax",
		"policy: {default: {drop: 80}, permits: [t]}":       "reference",
		"policy: {default: {drop: 80}, permits: [a, a]}":    "duplicate",
		"policy: {permits: [a]}":                            "missing",
		"policy: {default: {drop: 80}, permits: []}":        "range",
		"policy: {default: {drop: 80}, permits: [a, 7]}":    "type",
		"policy: {default: {drop: 80}, permits: feed}":      "type",
		"policy: {default: {drop: 80}, permit: [feed]}":     "unknown_field",
		"policy: {default: {drop: 80}, permits: ['a+b']}":   "syntax",
		"policy: {default: {drop: 80}, permits: ['a/b']}":   "syntax",
		"policy: {default: {drop: 80}, permits: [a, b, c]}": "",
	} {
		_, err := ParseBundle("bundle.yaml", []byte("version: 1\nname: t\n"+name+"\n"), nil, testHost(), testOptions)
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if f := mustFaults(t, err); f.List[0].Code != want || f.List[0].Line != 3 {
			t.Errorf("%s: %s, want %s", name, briefs(f.List), want)
		}
	}
}

func TestSetWithoutAPolicySaysSo(t *testing.T) {
	for want, s := range map[string]*Set{
		"": setOf(t, edgeBundle, feedOfSet),
		"the bundle feed has no policy: it counts, and blocks nobody": setOf(t, feedOfSet),
		"none of the bundles feed and other has a policy: they count, and block nobody": setOf(t, feedOfSet,
			strings.Replace(feedOfSet, "name: feed", "name: other", 1)),
	} {
		if got := strings.Join(s.Warnings(), "; "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Growth counts for each bundle and for the set, coverage for the set; what somebody takes out is no mistake.
func TestSetHolds(t *testing.T) {
	many := func(name string, n int) string {
		var rows []string
		for i := range n {
			rows = append(rows, fmt.Sprintf("198.18.%d.0/24", i))
		}
		return "version: 1\nname: " + name +
			"\nrules: [{id: a, label: a, score: 9}]\nfeatures: {prefixes: [{list: l, rule: a, entries: [" +
			strings.Join(rows, ", ") + "]}]}\n"
	}
	edge := setOf(t, edgeBundle)
	texts := func(old, new *Set) string {
		host := testHost()
		var out []string
		for _, h := range SetHolds(old, new, host) {
			out = append(out, h.Code+": "+h.What)
		}
		return strings.Join(out, ", ")
	}
	with := func(n int) *Set { return edge.With(mustBundle(t, many("feed", n), nil)) }
	for _, c := range []struct {
		name     string
		old, new *Set
		want     string
	}{
		{"the first", nil, with(50), ""},
		{"a new bundle is a new list", edge, with(50), "growth: list feed/l"},
		{"a small one", edge, with(5), ""},
		{"a list grows", with(20), with(40), "growth: list feed/l"},
		{"nothing grows", with(20), with(21), ""},
		{"one is taken out", with(50), edge, ""},
		{"one of one", setOf(t, many("feed", 20)), setOf(t, many("feed", 40)), "growth: list l"},
		{"renamed", setOf(t, many("feed", 20)), setOf(t, many("other", 40)), ""},
	} {
		if got := texts(c.old, c.new); got != c.want {
			t.Errorf("%s: held for %q, want %q", c.name, got, c.want)
		}
	}
	wide := func(name, prefix string) *Bundle {
		return mustBundle(t,
			"version: 1\nname: "+name+
				"\nrules: [{id: a, label: a, score: 9}]\nfeatures: {prefixes: [{list: l, rule: a, entries: ["+prefix+"]}]}\n", nil)
	}
	host := testHost()
	host.Guards.MinPrefixV4 = 6
	a, b := wide("a", "11.0.0.0/10"), wide("b", "12.0.0.0/10")
	host.Guards.MaxCoverage = 0.2
	if got := SetHolds(NewSet(a), NewSet(a, b), host); len(got) != 1 || got[0].Code != HoldCoverage {
		t.Errorf("two halves of what is too much: %+v", got)
	}
	if got := Protected(host, []netip.Addr{netip.MustParseAddr("192.0.2.1")}); len(got) != 2 {
		t.Errorf("an own address inside the allowlist adds nothing: %v", got)
	}
}
