// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config"
)

var classifyNow = time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)

// lists is a bundle with one list of rows 198.51.100.x and 2001:db8:x::, those that are not in without.
func lists(t *testing.T, edit func(string) string, without ...int) *config.Bundle {
	t.Helper()
	var rows []string
	for i := range 100 {
		row := fmt.Sprintf("198.51.100.%d", i)
		if i%2 == 1 {
			row = fmt.Sprintf("\"2001:db8:%d::/48\"", i)
		}
		keep := true
		for _, w := range without {
			keep = keep && w != i
		}
		if keep {
			rows = append(rows, row)
		}
	}
	text := `version: 1
name: edge
rules: [{id: listed, label: reputation, score: 90}, {id: other, label: scanner, score: 85}]
features:
  prefixes:
    - {list: daily, rule: listed, third_party: true, entries: [` + strings.Join(rows, ", ") + `]}
    - {list: own, rule: other, entries: [203.0.113.0/24]}
policy: {default: {drop: 80}}
`
	b, err := config.ParseBundle("b.yaml", []byte(edit(text)), nil, nil, config.BundleOptions{Now: classifyNow})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func replace(old, new string) func(string) string {
	return func(s string) string { return strings.Replace(s, old, new, 1) }
}

func TestClassify(t *testing.T) {
	same := func(s string) string { return s }
	base := config.NewSet(lists(t, same, 1, 2))
	for _, c := range []struct {
		name  string
		old   *config.Set
		new   *config.Bundle
		kind  Kind
		delta Delta
	}{
		{"the first bundle", nil, lists(t, same), KindBundle, Delta{}},
		{"the same", base, lists(t, same, 1, 2), KindRelax, Delta{}},
		{"rows less", base, lists(t, same, 1, 2, 3, 4), KindRelax, Delta{}},
		{"a row more", base, lists(t, same, 1), KindDelta, Delta{Rows: 1. / 98}},
		{"two more and two less", base, lists(t, same, 3, 4), KindDelta, Delta{Rows: 4. / 98}},
		{"a row of the small list", base,
			lists(t, replace("[203.0.113.0/24]", "[203.0.113.0/24, 192.0.2.1]"), 1, 2), KindDelta, Delta{Rows: 1}},
		{"a row of another rule", base, lists(t, replace("    - {list: own,",
			"    - {list: daily, rule: other, third_party: true, entries: [198.51.100.2]}\n    - {list: own,"), 1, 2),
			KindDelta, Delta{Rows: 1. / 98}},
		{"a list more", base, lists(t, replace("    - {list: own,",
			"    - {list: more, rule: other, entries: [192.0.2.1]}\n    - {list: own,"), 1, 2), KindBundle, Delta{}},
		{"a list of somebody else", base, lists(t, replace("third_party: true", "third_party: false"), 1), KindBundle,
			Delta{}},
		{"a score", base, lists(t, replace("score: 85", "score: 95"), 1), KindBundle, Delta{}},
		{"a lower score", base, lists(t, replace("score: 85", "score: 10"), 1, 2), KindRelax, Delta{}},
		{"a lower score and a row", base, lists(t, replace("score: 85", "score: 10"), 1), KindBundle, Delta{}},
		{"a threshold", base, lists(t, replace("drop: 80", "drop: 70"), 1, 2), KindBundle, Delta{}},
		{"a row and its intent", base, lists(t, func(s string) string {
			return s + "intent: {expects: {new_blocks: 1%, by: [reputation]}}\n"
		}, 1), KindBundle, Delta{}},
	} {
		kind, delta := Classify(c.old, config.NewSet(c.new), classifyNow, false)
		if kind != c.kind {
			t.Errorf("%s: %s, want %s", c.name, kind, c.kind)
		}
		if diff := cmp.Diff(c.delta, delta); diff != "" {
			t.Errorf("%s: delta (-want +got):\n%s", c.name, diff)
		}
		if kind, _ := Classify(c.old, config.NewSet(c.new), classifyNow, true); kind != KindEmergency {
			t.Errorf("%s in an emergency: %s", c.name, kind)
		}
	}
}

// An update is on the fast track up to max_delta, in rows.
func TestUpdatesInsideMaxDeltaAreFast(t *testing.T) {
	same := func(s string) string { return s }
	g := GuardsOf(config.DefaultHost())
	old := config.NewSet(lists(t, same, 1, 2, 3, 4))
	for _, c := range []struct {
		without []int
		fast    bool
	}{{[]int{1, 2, 3}, true}, {[]int{1}, false}} {
		kind, delta := Classify(old, config.NewSet(lists(t, same, c.without...)), classifyNow, false)
		change := Change{Kind: kind, Delta: delta}
		if got := change.fast(g); got != c.fast {
			t.Errorf("without %v: %s of %+v fast %t, want %t", c.without, kind, delta, got, c.fast)
		}
	}
}
