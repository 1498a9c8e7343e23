// SPDX-License-Identifier: Apache-2.0

package hostfile

import (
	"strings"
	"testing"

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
