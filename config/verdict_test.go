// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// verdictBundle has a rule of each verdict, and a limit.
const verdictBundle = `version: 1
name: t
rules:
  - {id: a, label: ours, verdict: allow, note: callbacks}
  - {id: b, label: odd, verdict: tag}
  - {id: c, label: bad, score: 90}
features:
  prefixes: [{list: own, rule: a, entries: [198.51.100.7]}, {list: own, rule: c, entries: [198.51.100.0/24]}]
  pairs: [{rule: b, tcp: windows, tls: safari}, {rule: c, tcp: raw, tls: go}, {rule: b, tcp: raw, tls: chrome}]
policy: {default: {drop: 80, tag: 40, limit: 60, rate: {connections: 30/m}}}
`

func TestCanonicalOfVerdicts(t *testing.T) {
	b := mustBundle(t, verdictBundle, nil)
	const want = `{"version":1,"name":"t","rules":[{"id":"a","label":"ours","score":0,"verdict":"allow","note":"callbacks"},` +
		`{"id":"b","label":"odd","score":0,"verdict":"tag"},{"id":"c","label":"bad","score":90}],` +
		`"prefixes":[{"list":"own","rule":"a","third_party":false,"entries":["198.51.100.7/32"]},` +
		`{"list":"own","rule":"c","third_party":false,"entries":["198.51.100.0/24"]}],"tcp":[],"reasons":[],` +
		`"pairs":[{"rule":"b","tcp":"raw","tls":"chrome"},{"rule":"c","tcp":"raw","tls":"go"},` +
		`{"rule":"b","tcp":"windows","tls":"safari"}],"policy":{"default":{"drop":"80","tag":"40","limit":"60",` +
		`"rate":{"connections":"30/m","burst":30,"by":"source","over":"drop","shared":8}}}}` + "\n"
	if diff := cmp.Diff(want, string(Canonical(b))); diff != "" {
		t.Fatalf("canonical form (-want +got):\n%s", diff)
	}
	got, err := ParseCanonical([]byte(want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, got, onlyIdentity); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
	for _, c := range [][2]string{
		{`"verdict":"tag"`, `"verdict":"drop"`}, {`"score":0,"verdict":"tag"`, `"score":7,"verdict":"tag"`},
		{`"tag":"40"`, `"tag":"60"`}, {`"tag":"40"`, `"tag":"never"`}, {`"limit":"60"`, `"limit":"101"`},
		{`"limit":"60"`, `"limit":"80"`}, {`"limit":"60",`, ``}, {`30/m`, `0/m`}, {`30/m`, `30/d`}, {`30/m`, `030/m`},
		{`30/m`, `60001/m`}, {`"burst":30`, `"burst":0`}, {`"burst":30`, `"burst":100001`},
		{`30/m","burst":30`, `1/h","burst":25`}, {`"by":"source"`, `"by":"fingerprint"`}, {`"over":"drop"`, `"over":"tag"`},
		{`"shared":8`, `"shared":0`}, {`"shared":8`, `"shared":65`}, {`"tls":"safari"`, `"tls":"opera"`},
		{`"tcp":"windows"`, `"tcp":"winnt"`}, {`"tls":"chrome"`, `"tls":"openssl"`},
		{`"by":"source","over":"drop"`, `"over":"drop","by":"source"`},
	} {
		if !strings.Contains(want, c[0]) {
			t.Fatalf("%s is not there", c[0])
		}
		if _, err := ParseCanonical([]byte(strings.Replace(want, c[0], c[1], 1))); !errors.Is(err, ErrNotCanonical) {
			t.Errorf("%s → %s: %v, want ErrNotCanonical", c[0], c[1], err)
		}
	}
}

// Only the policy's bundle lets somebody pass whatever others say, and whom it permits. Any may tag.
func TestAllowBesideAPolicy(t *testing.T) {
	allow := strings.Replace(feedOfSet, "score: 60", "verdict: allow", 1)
	err := setOf(t, edgeBundle, allow).Check(testHost())
	got := mustFaults(t, err).List[0]
	if got.File != "bundle feed" || got.Value != "listed (allow)" ||
		got.Problem != "rules that speak for visitors beside the policy of edge, which does not permit them" ||
		got.Valid != "scores from 0 on, and verdict: tag; or policy: {permits: [feed]} in the bundle edge" {
		t.Errorf("got %s", got)
	}
	for _, feed := range []string{strings.Replace(allow, "name: feed", "name: trusted", 1),
		strings.Replace(feedOfSet, "score: 60", "verdict: tag", 1)} {
		if err := setOf(t, edgeBundle, feed).Check(testHost()); err != nil {
			t.Error(err)
		}
	}
}

// A rule that allows is no way around the widest prefix, the protected, or what an intent may name.
func TestAllowIsKeptToTheFloor(t *testing.T) {
	text := func(entries, by string) string {
		return "version: 1\nname: t\nrules: [{id: a, label: la, verdict: allow}, {id: b, label: lb, verdict: tag}]\nfeatures:\n" +
			"  prefixes:\n    - {list: own, rule: a, entries: [" + entries + "]}\n    - {list: o, rule: b, entries: [198.51.100.0/24]}\n" +
			"policy: {default: {drop: 80}}\n" + by
	}
	for _, c := range []struct {
		entries, by string
		want        []string
	}{
		{"0.0.0.0/0, '::/0'", "", []string{"floor bundle.yaml:6:38", "floor bundle.yaml:6:49"}},
		{"192.0.2.1", "", []string{"protected bundle.yaml:6:38"}},
		{"198.51.100.7", "intent: {expects: {new_blocks: 1%, by: [la, lb]}}\n",
			[]string{"reference bundle.yaml:9:41", "reference bundle.yaml:9:45"}},
	} {
		_, err := ParseBundle("bundle.yaml", []byte(text(c.entries, c.by)), nil, testHost(), testOptions)
		if diff := cmp.Diff(c.want, briefs(mustFaults(t, err).List)); diff != "" {
			t.Errorf("%s (-want +got):\n%s\n%v", c.entries, diff, err)
		}
	}
}
