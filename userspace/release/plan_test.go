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
