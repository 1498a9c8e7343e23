// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const intended = `version: 1
name: edge
rules:
  - {id: b, label: scanner, score: 90}
  - {id: a, label: scripted, score: 50}
  - {id: c, label: scanner, score: 30}
features:
  prefixes:
    - {list: own, rule: a, entries: [192.0.2.64/26]}
    - {list: other, rule: b, entries: [198.51.100.0/24]}
    - {list: third, rule: c, entries: [203.0.113.0/24]}
policy: {default: {drop: 80}}
`

func parseBundle(t *testing.T, text string) *Bundle {
	t.Helper()
	b, err := ParseBundle("b.yaml", []byte(text), nil, nil, BundleOptions{Now: testNow})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func declared(b *Bundle) string {
	var out []string
	for _, r := range b.Rules {
		if r.Declared {
			out = append(out, r.ID)
		}
	}
	return strings.Join(out, " ")
}

// What a bundle of an earlier release is called must not change: history, quarantine and archive name it so.
func TestDigestsAreThoseOfEarlierReleases(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"without an intent": {intended, "sha256:7c36738adc7d63be70b7f54faf5ab0784a1ecdc182b4f80cf92c0e45e52d2d63"},
		"with one": {intended + "intent: {expects: {new_blocks: 6%, by: [scanner]}}\n",
			"sha256:991847f7956662b45d9d49dd2b1d85ab758bede2c06b7a4f616f4aa9f7e23317"},
	} {
		if got := parseBundle(t, c.text).Digest.String(); got != c.want {
			t.Errorf("a bundle %s is %s, was %s", name, got, c.want)
		}
	}
}

// The intent is the author's: another one makes another bundle. Its labels mark the rules, also when the bundle was
// stored and read again, and of a set each rule by the intent of its own bundle.
func TestIntentMarksTheRulesThatItNames(t *testing.T) {
	silent := parseBundle(t, intended)
	speaks := parseBundle(t, intended+"intent: {expects: {new_blocks: 6%, by: [scanner]}}\n")
	nothing := parseBundle(t, intended+"intent: {expects: {new_blocks: 0%, by: [scanner]}}\n")
	if silent.Digest == speaks.Digest || speaks.Digest == nothing.Digest {
		t.Error("bundles with different intents have one digest")
	}
	again, err := ParseCanonical(Canonical(speaks))
	if err != nil {
		t.Fatal(err)
	}
	feed := parseBundle(t, `version: 1
name: feed
rules: [{id: b, label: scanner, score: 60}, {id: d, label: listed, score: 60}]
features: {prefixes: [{list: l, rule: b, entries: [192.0.2.0/25]}, {list: m, rule: d, entries: [192.0.2.128/25]}]}
intent: {expects: {new_blocks: 1%, by: [listed]}}
`)
	for name, c := range map[string]struct {
		b    *Bundle
		want string
	}{
		"none": {silent, ""}, "of labels": {speaks, "b c"}, "of nothing": {nothing, ""}, "read again": {again, "b c"},
		"in a set": {NewSet(speaks, feed).Merge(), "edge/b edge/c feed/d"},
		"of a set": {NewSet(silent, feed).Merge(), "feed/d"},
	} {
		if got := declared(c.b); got != c.want {
			t.Errorf("%s: rules %q are declared, want %q", name, got, c.want)
		}
	}
}

// The intent of a change is that of the bundles that change.
func TestIntentOfAChange(t *testing.T) {
	named := func(name, more string) *Bundle {
		return parseBundle(t, strings.Replace(intended, "name: edge", "name: "+name, 1)+more)
	}
	list := func(name, share, by string) *Bundle {
		return parseBundle(t, strings.Replace(strings.Replace(intended, "policy: {default: {drop: 80}}\n", "", 1),
			"name: edge", "name: "+name, 1)+"intent: {expects: {new_blocks: "+share+", by: ["+by+"]}}\n")
	}
	edge, edge2 := named("edge", ""), named("edge", "intent: {expects: {new_blocks: 6%, by: [scanner]}}\n")
	feed, feed2 := list("feed", "1%", "scripted"), list("feed", "98%", "scanner, scripted")
	for name, c := range map[string]struct {
		old, new *Set
		want     *Intent
	}{
		"the first":              {nil, NewSet(edge2), edge2.Intent},
		"nothing declared":       {nil, NewSet(edge), nil},
		"nothing changes":        {NewSet(edge2, feed), NewSet(edge2, feed), nil},
		"one is replaced":        {NewSet(edge, feed), NewSet(edge2, feed), edge2.Intent},
		"one that was declared":  {NewSet(edge2, feed), NewSet(edge2, feed2), feed2.Intent},
		"both":                   {NewSet(edge), NewSet(edge2, feed2), &Intent{100, []string{"scanner", "scripted"}}},
		"one goes":               {NewSet(edge2, feed), NewSet(edge2), nil},
		"one more, and one goes": {NewSet(edge2), NewSet(feed), feed.Intent},
	} {
		if diff := cmp.Diff(c.want, IntentOf(c.old, c.new)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestIntentFaults(t *testing.T) {
	_, err := ParseBundle("b", []byte(intended+"intent: {expects: {new_blocks: 6, by: [scaner, scanner, scanner]}}\n"), nil, nil,
		BundleOptions{Now: testNow})
	got := mustFaults(t, err)
	want := []string{"type b:13:32", "reference b:13:40", "duplicate b:13:57"}
	if diff := cmp.Diff(want, briefs(got.List)); diff != "" {
		t.Errorf("faults (-want +got):\n%s\n%v", diff, err)
	}
	if text := err.Error(); !strings.Contains(text, "did you mean scanner?") {
		t.Errorf("no suggestion: %s", text)
	}
}
