// SPDX-License-Identifier: Apache-2.0

package release

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
)

// A plan says what the name and the intent were and will be: a row of which only the place is known helps nobody.
func TestPlanRowsOfNameAndIntent(t *testing.T) {
	const body = "rules: [{id: a, label: a, score: 60}]\npolicy: {default: {drop: 80}}\n"
	parse := func(name, more string) *config.Bundle {
		t.Helper()
		b, err := config.ParseBundle("bundle.yaml", []byte("version: 1\nname: "+name+"\n"+body+more), nil, nil,
			config.BundleOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var p api.Plan
	planWriter{&p, config.DefaultHost()}.write(parse("monday", ""),
		parse("tuesday", "intent: {expects: {new_blocks: 6%, by: [a]}}\n"))
	want := []api.PlanRow{
		{Op: "changed", What: "name", Name: "name", From: "monday", To: "tuesday"},
		{Op: "changed", What: "intent", Name: "expects", From: "nothing declared", To: "6% new blocks by a"},
	}
	if diff := cmp.Diff(want, p.Rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// A plan names what comes and goes of fingerprints and verdicts.
func TestPlanRowsOfClients(t *testing.T) {
	const head = "version: 1\nname: t\nrules: [{id: a, label: a, score: 60}, {id: b, label: b, score: 50}]\nfeatures:\n"
	host := config.DefaultHost()
	host.AcceptReasons = []string{"not_hello"}
	parse := func(text string) *config.Bundle {
		t.Helper()
		b, err := config.ParseBundle("bundle.yaml", []byte(head+text), nil, host, config.BundleOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	rows := func(old, next *config.Bundle) []api.PlanRow {
		var p api.Plan
		planWriter{&p, host}.write(old, next)
		return p.Rows
	}
	const one, two = "{rule: a, signature: '4:64:0:*:1,0:::0'}", "{rule: a, signature: '4:64:0:*:2,0:::0'}"
	before := parse(
		"  ja4: [{rule: a, match: t13d1516h2_*_*}, {rule: a, match: '*_8daaf6152771_*', stable: true}]\n  p0f: [" + one +
			", " + two + "]\npolicy: {default: {drop: 80}}\n")
	after := parse("  ja4: [{rule: b, match: t13d1516h2_*_*}, {rule: a, match: '*_8daaf6152771_*'}]\n  p0f: [" + one +
		"]\npolicy: {default: {drop: 80, reset: 95}}\n")
	want := []api.PlanRow{
		{Op: "added", What: "ja4", Name: "*_8daaf6152771_*", To: "a"},
		{Op: "removed", What: "ja4", Name: "stable *_8daaf6152771_*", From: "a"},
		{Op: "changed", What: "ja4", Name: "t13d1516h2_*_*", From: "a", To: "b"},
		{Op: "removed", What: "p0f", Name: "4:64:0:*:2,0:::0", From: "a"},
		{Op: "changed", What: "policy", Name: "default", From: "drop: 80", To: "drop: 80, reset: 95"},
	}
	if diff := cmp.Diff(want, rows(before, after)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	order := parse("  p0f: [" + two + ", " + one + "]\n")
	want = []api.PlanRow{{Op: "changed", What: "p0f", Name: "signatures", To: "another order: the first that fits counts"}}
	if diff := cmp.Diff(want, rows(parse("  p0f: ["+one+", "+two+"]\n"), order)); diff != "" {
		t.Errorf("rows of another order (-want +got):\n%s", diff)
	}

	const fragments = "policy: {default: {drop: 80, fragments: drop}}\n"
	reasons := parse(
		"  reasons: [{rule: a, reason: hello_hidden}, {rule: a, reason: not_hello}, {rule: b, reason: hello_order}]\n" +
			fragments)
	want = []api.PlanRow{
		{Op: "added", What: "reason", Name: "hello_hidden", To: "a, may block alone"},
		{Op: "added", What: "reason", Name: "hello_order", To: "b, never blocks alone"},
		{Op: "added", What: "reason", Name: "not_hello", To: "a, may block alone"},
		{Op: "changed", What: "policy", Name: "default", From: "drop: 80",
			To: "drop: 80, fragments: drop (whoever sends them)"},
	}
	before = parse("  p0f: [" + one + "]\npolicy: {default: {drop: 80}}\n")
	got := slices.DeleteFunc(rows(before, reasons), func(r api.PlanRow) bool { return r.What == "p0f" })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows of reasons and fragments (-want +got):\n%s", diff)
	}
}

func TestPlanRowsOfVerdictsAndLimits(t *testing.T) {
	parse := func(text string) *config.Bundle {
		t.Helper()
		b, err := config.ParseBundle("bundle.yaml", []byte("version: 1\nname: t\n"+text), nil, nil, config.BundleOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	host := config.DefaultHost()
	host.AcceptReasons = []string{"not_hello"}
	var p api.Plan
	planWriter{&p, host}.write(parse(`rules: [{id: bad, label: bad, score: 60}, {id: odd, label: odd, score: 10}]
features:
  reasons: [{rule: odd, reason: hello_order}]
policy: {default: {drop: 80}}
`), parse(`rules:
  - {id: bad, label: bad, score: 60}
  - {id: odd, label: odd, verdict: tag, note: look at it}
  - {id: ours, label: ours, verdict: allow, expires: "2099-01-02T03:04:05Z"}
features:
  reasons: [{rule: odd, reason: hello_order}, {rule: odd, reason: not_hello}]
  pairs: [{rule: odd, tcp: windows, tls: go}]
  prefixes: [{list: us, rule: ours, entries: [203.0.113.0/24]}]
policy:
  default: {tag: 30, limit: 50, rate: {connections: 30/m, burst: 60}, drop: 80, reset: 95}
  services: {}
`))
	want := []api.PlanRow{
		{Op: "added", What: "rule", Name: "ours", To: "ours, allow, expires 2099-01-02T03:04:05Z"},
		{Op: "changed", What: "rule", Name: "odd", From: "odd, score +10", To: "odd, tag, look at it"},
		{Op: "added", What: "prefix", List: "us", Name: "203.0.113.0/24", To: "ours"},
		{Op: "added", What: "reason", Name: "not_hello", To: "odd"},
		{Op: "added", What: "pair", Name: "windows × go", To: "odd"},
		{Op: "changed", What: "policy", Name: "default", From: "drop: 80", To: "tag: 30, limit: 50 (30/m by source, " +
			"60 at once, over it drop; 8 times as much for shared addresses), drop: 80, reset: 95"},
	}
	if diff := cmp.Diff(want, p.Rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// What the host file's strongest verdict makes of a policy is told, and nothing where it makes nothing of it.
func TestPlanNotesOfCaps(t *testing.T) {
	for _, c := range []struct{ most, policy, want string }{
		{"reset", "limit: 50, rate: {connections: 30/m}, drop: 80, reset: 95", ""},
		{"tag", "tag: 30, drop: never", ""},
		{"tag", "limit: 50, rate: {connections: 30/m}, drop: 80", "tag: 50, drop: never"},
		{"pass", "tag: 30, drop: 80", "drop: never"},
		{"limit", "tag: 30, limit: 50, rate: {connections: 30/m, by: prefix}, drop: 80",
			"tag: 30, limit: 50 (30/m by prefix, 30 at once, over it drop), drop: never"},
		{"drop", "drop: 95, reset: 80, fragments: drop", "drop: 80, fragments: drop (whoever sends them)"},
		{"drop", "limit: 50, rate: {connections: 1/h, shared: 1, over: reset}, drop: 80",
			"limit: 50 (1/h by source, 1 at once, over it drop), drop: 80"},
	} {
		h, err := config.ParseHost("spillway.yaml", []byte("version: 1\nmax_mode: enforce\ninterfaces: [{name: eth0}]\n"+
			"services: [{name: web, port: 443, kind: tls, max_verdict: "+c.most+"}, {name: shop, port: 8443, kind: tls}]\n"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := config.ParseBundle("bundle.yaml", []byte("version: 1\nname: t\nrules: [{id: a, label: a, score: 60}]\n"+
			"policy: {default: {"+c.policy+"}}\n"), nil, h, config.BundleOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		if c.want != "" {
			want = []string{"max_verdict of service web is " + c.most + " in the host file: its policy counts as " + c.want}
		}
		if diff := cmp.Diff(want, cappedNotes(h, config.NewSet(b))); diff != "" {
			t.Errorf("max_verdict %s, %s (-want +got):\n%s", c.most, c.policy, diff)
		}
	}
}
