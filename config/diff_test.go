// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestChange(t *testing.T) {
	const before = rulesAB + "  prefixes:\n    - {list: x, rule: a, entries: [198.51.100.0/24, 203.0.113.0/24]}\n" +
		"    - {list: gone, rule: b, entries: [198.51.100.0/24]}\n" +
		"  tcp: [{rule: a, muonfp: '1:::'}]\n  reasons: [{rule: a, reason: fragment}]\n" +
		"policy: {services: {web: {drop: 80}}}\n"
	after := strings.NewReplacer("score: 60", "score: 61", "id: b, label: lb", "id: c, label: lb", "rule: b", "rule: c",
		"list: gone", "list: new", "203.0.113.0/24", "192.0.2.64/26",
		"'1:::'", "'2:::'", "rule: a, reason", "rule: c, reason", "drop: 80", "drop: 90").Replace(before) +
		"intent: {expects: {new_blocks: 1%, by: [la]}}\n"
	got := Change(mustBundle(t, before, nil), mustBundle(t, after, nil))
	var lines []string
	note := func(kind string, added, removed, changed any) {
		lines = append(lines, fmt.Sprintf("%s +%v -%v ~%v", kind, added, removed, changed))
	}
	ids := func(rules []Rule) (out []string) {
		for _, r := range rules {
			out = append(out, r.ID)
		}
		return out
	}
	note("rules", ids(got.Rules.Added), ids(got.Rules.Removed), len(got.Rules.Changed))
	for _, l := range got.Prefixes {
		note(l.List, l.Added, l.Removed, l.Changed)
	}
	for _, k := range got.Features {
		note(k.Kind, k.Added, k.Removed, k.Changed)
	}
	note("policy", got.Policy.Added, got.Policy.Removed, got.Policy.Changed)
	want := []string{
		"rules +[c] -[b] ~1",
		"gone +[] -[{198.51.100.0/24 b}] ~[]",
		"new +[{198.51.100.0/24 c}] -[] ~[]",
		"x +[{192.0.2.64/26 a}] -[{203.0.113.0/24 a}] ~[]",
		"tcp +[{2::: a}] -[{1::: a}] ~[]",
		"reason +[] -[] ~[{{fragment a} {fragment c}}]",
		"policy +[] -[] ~[{{web 80 never  never never none} {web 90 never  never never none}}]",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("change (-want +got):\n%s", diff)
	}
	if !got.Intent || got.Name || got.Len() != 12 {
		t.Errorf("intent %v, name %v, %d differences; want true, false, 12", got.Intent, got.Name, got.Len())
	}
}

// Nothing differs exactly when the digests are the same, one change at a time.
func TestChangeAndDigestAgree(t *testing.T) {
	const text = rulesAB + "  prefixes:\n    - {list: x, rule: a, entries: [198.51.100.0/24, 203.0.113.0/24]}\n" +
		"  tcp: [{rule: a, muonfp: '1:::'}]\n" +
		"  ja4: [{rule: a, match: t13d1516h2_*_02713d6af862}]\n" +
		"  p0f: [{rule: a, signature: '4:64:0:*:1,0:::0'}, {rule: a, signature: '4:64:0:*:2,0:::0'}]\n" +
		"  pairs: [{rule: a, tcp: windows, tls: go}]\n" +
		"policy: {default: {drop: 80}}\nintent: {expects: {new_blocks: 1%, by: [la]}}\n"
	base := mustBundle(t, text, nil)
	for _, c := range [][2]string{
		{"name: t", "name: u"}, {"score: 60", "score: 61"}, {"score: 60", "score: 60, note: n"},
		{"score: 60", "score: 60, expires: 2030-01-01T00:00:00Z"}, {"label: lb", "label: lc"},
		{"id: b", "id: bb"}, {"{list: x, rule: a", "{list: x, rule: b"}, {"list: x", "list: y"},
		{"rule: a, entries", "rule: a, third_party: true, entries"},
		{"198.51.100.0/24", "198.51.100.0/25"}, {"'1:::'", "'2:::'"}, {"{rule: a, muonfp", "{rule: b, muonfp"},
		{"drop: 80", "drop: never"}, {"drop: 80", "drop: 80, reset: 90"}, {"drop: 80", "drop: 80, fragments: drop"},
		{"drop: 80", "drop: 80, tag: 40"}, {"drop: 80", "drop: 80, limit: 40, rate: {connections: 30/m}"},
		{"score: 50", "verdict: allow"}, {"score: 50", "verdict: tag"}, {"{rule: a, tcp: w", "{rule: b, tcp: w"},
		{"tls: go", "tls: java"}, {"tcp: windows", "tcp: apple"},
		{"h2_*", "h1_*"}, {"{rule: a, match", "{rule: b, match"}, {"02713d6af862", "02713d6af862, stable: true"},
		{"*:1,0", "*:3,0"}, {"{rule: a, sig", "{rule: b, sig"},
		{"{rule: a, signature: '4:64:0:*:1,0:::0'}, {rule: a, signature: '4:64:0:*:2,0:::0'}",
			"{rule: a, signature: '4:64:0:*:2,0:::0'}, {rule: a, signature: '4:64:0:*:1,0:::0'}"},
		{"default: {drop: 80}", ""}, {"1%", "2%"}, {"by: [la]", "by: [la, lb]"},
	} {
		changed := mustBundle(t, strings.Replace(text, c[0], c[1], 1), nil)
		if d := Change(base, changed); d.Len() == 0 || changed.Digest == base.Digest {
			t.Errorf("%s → %s: %d differences, same digest %v", c[0], c[1], d.Len(), changed.Digest == base.Digest)
		}
	}
	if d := Change(base, mustBundle(t, text, nil)); d.Len() != 0 {
		t.Errorf("the same bundle differs from itself: %+v", d)
	}
}

func TestChangeFromNothing(t *testing.T) {
	_, b := loadExamples(t)
	v4, v6 := b.PrefixCount()
	want := len(b.Rules) + v4 + v6 + len(b.TCP) + len(b.JA4) + len(b.P0F) + len(b.Reasons) + len(b.Pairs) +
		len(b.Policy) + 1
	if d := Change(nil, b); d.Len() != want {
		t.Errorf("%d differences from nothing, want %d", d.Len(), want)
	}
	if d := Change(b, nil); d.Len() != want {
		t.Errorf("%d differences to nothing, want %d", d.Len(), want)
	}
}

func TestHolds(t *testing.T) {
	list := func(n int) *Bundle {
		text := minimalBundle
		if n > 0 {
			text += "    - {list: feed, rule: bad, file: feed}\n"
		}
		return mustBundle(t, text, files("feed", rowsOfFeed(n)))
	}
	for _, c := range []struct {
		before, after int
		want          []string
	}{
		{100, 130, nil},
		{100, 131, []string{"growth"}},
		{100, 70, nil},
		{100, 69, []string{"shrink"}},
		{100, 0, []string{"shrink"}},
		{3, 9, nil}, // below ten rows one row is many percent
		{9, 1, nil},
		{7, 10, []string{"growth"}},
		{10, 6, []string{"shrink"}},
		{0, 9, nil},
		{0, 10, []string{"growth"}},
	} {
		var got []string
		for _, h := range Holds(list(c.before), list(c.after), testHost()) {
			got = append(got, h.Code)
			if h.What != "list feed" || !strings.Contains(h.Text, fmt.Sprint(c.after)) {
				t.Errorf("hold of %d → %d is %+v", c.before, c.after, h)
			}
		}
		if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%d → %d rows (-want +got):\n%s", c.before, c.after, diff)
		}
	}
	if h := Holds(nil, list(1000), testHost()); len(h) != 0 {
		t.Errorf("the first bundle is held: %v", h)
	}
	many := func(n int) *Bundle {
		text := "version: 1\nname: t\nrules:\n  - {id: r, label: l, score: 1}\n"
		fingerprints := "features:\n  tcp:\n"
		for i := range n {
			text += fmt.Sprintf("  - {id: r%d, label: l, score: 1}\n", i)
			fingerprints += fmt.Sprintf("    - {rule: r, muonfp: '%d:::'}\n", i)
		}
		return mustBundle(t, text+fingerprints, nil)
	}
	if h := Holds(many(20), many(40), nil); len(h) != 2 {
		t.Errorf("rules and fingerprints doubled: %v, want two holds", h)
	}
}

func TestCoverageHolds(t *testing.T) {
	build := func(first, count, score int, inner bool) *Bundle {
		var entries []string
		for i := range count {
			entries = append(entries, fmt.Sprintf("%d.%d.0.0/10", first+i/4, i%4*64))
			if inner {
				entries = append(entries, fmt.Sprintf("%d.%d.0.0/11", first+i/4, i%4*64))
			}
		}
		return mustBundle(t,
			fmt.Sprintf("version: 1\nname: t\nrules: [{id: a, label: a, score: %d}]\nfeatures: {prefixes: [{list: x, rule: a, entries: [%s]}]}\n",
				score, strings.Join(entries, ", ")), nil)
	}
	// A /10 is 0.1132 % of the routed IPv4 space: 44 are 4.98 %, 45 are 5.09 %.
	for _, c := range []struct {
		name string
		b    *Bundle
		want int
	}{
		{"44 of /10", build(32, 44, 100, false), 0},
		{"45 of /10", build(32, 45, 100, false), 1},
		{"overlaps count once", build(32, 44, 100, true), 0},
		{"rules that speak for visitors do not count", build(32, 60, -100, false), 0},
	} {
		h := Holds(nil, c.b, testHost())
		if len(h) != c.want {
			t.Errorf("%s: %v, want %d holds", c.name, h, c.want)
		}
		for _, one := range h {
			if one.Code != HoldCoverage || one.What != "IPv4" ||
				one.Text != "prefixes cover 5.09% of the routed IPv4 space; guards.max_coverage is 5%" {
				t.Errorf("%s: %+v", c.name, one)
			}
		}
	}
	host := testHost()
	host.Guards.MinPrefixV6, host.Guards.MaxCoverage = 3, 6
	six, err := ParseBundle("b", []byte(strings.Replace(minimalBundle, "198.51.100.0/24", "'2000::/7'", 1)),
		nil, host, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	if h := Holds(nil, six, host); len(h) != 1 || h[0].What != "IPv6" || h[0].Numbers["coverage_percent"] != 6.25 {
		t.Errorf("a /7 of 2000::/3: %v, want one hold of 6.25 %%", h)
	}
}
