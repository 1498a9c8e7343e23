// SPDX-License-Identifier: Apache-2.0

package hostfile

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

const served = `version: 1
max_mode: enforce
interfaces: [{name: eth0}]
services:
  - {name: web, port: 443, kind: tls}
  - {name: dns, port: 53, kind: udp}
allowlist: [{prefix: 203.0.113.0/28, note: office}]
guards: {bake: 10m, ban_rate: 3}
`

const goldenLine = "golden: [{name: shop, service: web, client: curl}]\n"

const officeLine = "allowlist: [{prefix: 203.0.113.0/28, note: office}]\n"

func edited(t *testing.T, pairs ...string) string {
	t.Helper()
	text := served
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%q is not in the host file", pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

func TestNewlyBlocks(t *testing.T) {
	parse := func(text string) *config.Host {
		h, err := config.ParseHost("spillway.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	const guards = "guards: {bake: 10m"
	for _, row := range []struct {
		name string
		text string
		want string // "" when it can block nobody else
	}{
		{"nothing", served, ""},
		{"observe", edited(t, "max_mode: enforce", "max_mode: observe"), ""},
		{"a service", edited(t, "services:", "services:\n  - {name: api, port: 8443, kind: tls}"), "service api"},
		{"a service of another port", edited(t, "port: 443", "port: 8443"), "service web"},
		{"a service without its sockets", edited(t, "port: 443,", "port: 443, local: false,"), "service web"},
		{"a cap", edited(t, "kind: tls}", "kind: tls, max_verdict: limit}"), ""},
		{"a service less", edited(t, "  - {name: dns, port: 53, kind: udp}\n", ""), ""},
		{"an interface", edited(t, "[{name: eth0}]", "[{name: eth0}, {name: eth1}]"), "interface eth1"},
		{"an interface less", edited(t, "[{name: eth0}]", "[{name: eth1}]"), "interface eth1"},
		{"an allowlist line less", edited(t, officeLine, ""), "203.0.113.0/28 (office)"},
		{"a narrower line", edited(t, "203.0.113.0/28", "203.0.113.0/29"), "203.0.113.0/28 (office)"},
		{"a wider line", edited(t, "203.0.113.0/28", "203.0.113.0/24"), ""},
		{"a line more", edited(t, officeLine, "allowlist: [203.0.113.0/28, 203.0.113.99]\n"), ""},
		{"bake", edited(t, guards, "guards: {bake: 1m"), "guards.bake: 1m instead of 10m"},
		{"a longer bake", edited(t, guards, "guards: {bake: 1h"), ""},
		{"timeout", edited(t, guards, guards+", agent_timeout: never"), "guards.agent_timeout: never instead of 15m"},
		{"a shorter timeout", edited(t, guards, guards+", agent_timeout: 1m"), ""},
		{"length of bans", edited(t, guards, guards+", max_ban_ttl: 48h"), "guards.max_ban_ttl: 48h instead of 24h"},
		{"floor of bans", edited(t, guards, guards+", ban_floor_v4: 16, ban_floor_v6: 64"),
			"guards.ban_floor_v4: 16 instead of 24"},
		{"rate of bans", edited(t, "ban_rate: 3", "ban_rate: 4"), "guards.ban_rate: 4 instead of 3"},
		{"floor of bundles", edited(t, guards, guards+", min_prefix_v6: 20"), "guards.min_prefix_v6: 20 instead of 24"},
		{"a golden client more", edited(t, guards, goldenLine+guards), ""},
		{"staged, as by default", edited(t, guards, guards+", rollout: staged"), ""},
		{"direct", edited(t, guards, guards+", rollout: direct"), "guards.rollout: direct instead of staged"},
		{"less evidence", edited(t, guards, guards+", evidence: small"), "guards.evidence: small instead of normal"},
		{"more evidence", edited(t, guards, guards+", evidence: large"), ""},
		{"a shorter shadow", edited(t, guards, guards+", shadow: 1m"), "guards.shadow: 1m instead of 10m"},
		{"a quicker canary", edited(t, guards, guards+", canary: [{share: 100%, for: 30m}]"),
			"guards.canary: 100% for 30m instead of 1% for 10m, 5% for 10m, 25% for 20m, 100% for 30m"},
		{"a slower canary", edited(t, guards, guards+", canary: [{share: 1%, for: 2h}, {share: 100%, for: 1h}]"), ""},
		{"more new blocks", edited(t, guards, guards+", max_new_blocks: 60%"), "guards.max_new_blocks: 60% instead of 50%"},
		{"larger updates", edited(t, guards, guards+", max_delta: {rows: 3%}"), "guards.max_delta.rows: 3% instead of 2%"},
		{"updates that block more", edited(t, guards, guards+", max_delta: {connections: 1%}"),
			"guards.max_delta.connections: 1% instead of 0.5%"},
		{"time alone", edited(t, guards, guards+", time_only_below: 100"), "guards.time_only_below: 100 instead of 0"},
		{"growth", edited(t, guards, guards+", max_change: 50%, max_coverage: 1%"), "guards.max_change: 50% instead of 30%"},
	} {
		got := NewlyBlocks(bpf.ModeEnforce, parse(served), parse(row.text))
		if row.want == "" && len(got) > 0 || row.want != "" && (len(got) != 1 || !strings.Contains(got[0], row.want)) {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
	if got := NewlyBlocks(bpf.ModeObserve, parse(served), parse(served)); len(got) != 1 ||
		!strings.Contains(got[0], "max_mode") {
		t.Errorf("from a kernel that observes: %q", got)
	}
}

// A cap counts at once where it is lowered, and goes in stages where it is raised: but not to tag, for who is tagged
// passes.
func TestRaisedCapsGoInStages(t *testing.T) {
	parse := func(most string) *config.Host {
		h, err := config.ParseHost("spillway.yaml", []byte(edited(t, "kind: tls}", "kind: tls, max_verdict: "+most+"}")))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	all := []string{"pass", "tag", "limit", "drop", "reset"}
	for i, old := range all {
		for k, next := range all {
			var want []string
			if k > i && next != "tag" {
				want = []string{"service web: max_verdict " + next + ", was " + old + ": bundles may do more there"}
			}
			if diff := cmp.Diff(want, InStages(parse(old), parse(next))); diff != "" {
				t.Errorf("%s to %s (-want +got):\n%s", old, next, diff)
			}
		}
	}
}

// Whom the host file knows is protected for a reason, and leaving him out is told with it.
func TestNewlyBlocksWhoWasKnown(t *testing.T) {
	const known = served + goldenLine + `health_checks: [{name: uptime, prefixes: [192.0.2.33]}]
crawlers: [{name: search, prefixes: [198.51.100.0/24]}]
`
	parse := func(text string) *config.Host {
		h, err := config.ParseHost("spillway.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	old := parse(known)
	if got := NewlyBlocks(bpf.ModeEnforce, old, old); len(got) > 0 {
		t.Errorf("the same file: %q", got)
	}
	want := []string{"the health check uptime, 192.0.2.33/32, is no longer protected",
		"the crawler search, 198.51.100.0/24, is no longer protected",
		"golden client shop: no bundle is tried with it any more"}
	if diff := cmp.Diff(want, NewlyBlocks(bpf.ModeEnforce, old, parse(served))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	other := parse(served + "golden: [{name: shop, service: web, client: Chrome}]\n")
	got := NewlyBlocks(bpf.ModeEnforce, old, other)
	if !slices.Contains(got, "golden client shop is another than before") {
		t.Errorf("another golden client: %q", got)
	}
	direct := parse(strings.Replace(served, "guards: {", "guards: {rollout: direct, ", 1))
	for _, after := range []*config.Host{direct, parse(served)} {
		if got := NewlyBlocks(bpf.ModeEnforce, direct, after); len(got) > 0 {
			t.Errorf("%s after direct: %q", after.Guards.Rollout, got)
		}
	}
}
