// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
)

const officeLine = "allowlist: [{prefix: 203.0.113.0/28, note: office}]\n"

func edited(t *testing.T, pairs ...string) string {
	t.Helper()
	text := hostYAML
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
		{"nothing", hostYAML, ""},
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
		{"floor of bans", edited(t, guards, guards+", ban_floor_v4: 16, ban_floor_v6: 64"), "guards.ban_floor_v4: 16 instead of 24"},
		{"rate of bans", edited(t, "ban_rate: 3", "ban_rate: 4"), "guards.ban_rate: 4 instead of 3"},
		{"floor of bundles", edited(t, guards, guards+", min_prefix_v6: 20"), "guards.min_prefix_v6: 20 instead of 24"},
		{"growth", edited(t, guards, guards+", max_change: 50%, max_coverage: 1%"), "guards.max_change: 50% instead of 30%"},
	} {
		got := newlyBlocks(bpf.ModeEnforce, parse(hostYAML), parse(row.text))
		if row.want == "" && len(got) > 0 || row.want != "" && (len(got) != 1 || !strings.Contains(got[0], row.want)) {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
	if got := newlyBlocks(bpf.ModeObserve, parse(hostYAML), parse(hostYAML)); len(got) != 1 || !strings.Contains(got[0], "max_mode") {
		t.Errorf("from a kernel that observes: %q", got)
	}
}

// Who asks is told what a host file can newly block, and nothing happens. Who does not ask is told what happened.
func TestReloadAsks(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	before := r.machine.control
	r.writeHost(edited(t, officeLine, ""))
	_, err := r.Reload(ctx, root, api.ReloadRequest{Ask: true})
	if e := wantCode(t, err, api.CodeHeld); len(e.Holds) != 1 || !strings.Contains(e.Holds[0].Text, "office") || r.machine.control != before {
		t.Errorf("%+v, control %+v", e, r.machine.control)
	}
	r.wantLine("apply applied")
	c, err := r.Reload(ctx, root, api.ReloadRequest{})
	if err != nil || !strings.Contains(fmt.Sprint(c.Details), "can newly block: allowlist: 203.0.113.0/28") {
		t.Errorf("%+v, %v", c, err)
	}
	r.wantLine("reload done")
	if _, err := r.Reload(ctx, root, api.ReloadRequest{Ask: true}); err != nil {
		t.Errorf("nothing to ask about: %v", err)
	}
}

// A signal says no yes.
func TestHangUpHoldsWhatCanNewlyBlock(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	before := r.machine.control
	r.writeHost(edited(t, officeLine, ""))
	r.hungUp.Store(true)
	r.hangUp(ctx)
	s, err := r.Status(ctx)
	if err != nil || !hasProblem(s, ledger.ProblemReload) || r.machine.control != before || r.hungUp.Load() {
		t.Errorf("problems %v, %v, control %+v", s.Problems, err, r.machine.control)
	}
	r.wantLine("reload held")
	if _, err := r.Reload(ctx, root, api.ReloadRequest{}); err != nil {
		t.Fatal(err)
	}
	if s, _ := r.Status(ctx); hasProblem(s, ledger.ProblemReload) {
		t.Errorf("problems %v", s.Problems)
	}
}

// An allowlist line is wanted most when something is wrong: neither a candidate nor a bundle that does not fit any more
// keeps it out.
func TestAllowlistLineWhateverTheBundle(t *testing.T) {
	line := edited(t, officeLine, "allowlist: [203.0.113.0/28, 203.0.113.99]\n")
	for _, row := range []struct {
		name    string
		prepare func(r *rig)
	}{
		{"candidate over capacity", func(r *rig) {
			r.mustApply("two", api.ApplyOptions{Confirm: time.Hour})
			r.machine.fail["Build"] = loader.ErrCapacity
		}},
		{"bundle over capacity", func(r *rig) { r.machine.fail["Build"] = loader.ErrCapacity }},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			r.mustApply("one", api.ApplyOptions{})
			row.prepare(r)
			before := r.machine.control
			r.writeHost(line)
			c, err := r.Reload(ctx, root, api.ReloadRequest{})
			after := r.machine.control
			if err != nil || after.Host == before.Host || after.Stable != before.Stable || after.Candidate != before.Candidate || len(c.Details) < 2 {
				t.Errorf("%+v, %v; control %+v, was %+v", c, err, after, before)
			}
			r.writeHost(strings.ReplaceAll(line, "services:", "services:\n  - {name: api, port: 8443, kind: tls}"))
			before = r.machine.control
			if _, err := r.Reload(ctx, root, api.ReloadRequest{}); err == nil || r.machine.control != before {
				t.Errorf("a new service without a bundle for it: %v, control %+v", err, r.machine.control)
			}
		})
	}
}

// The bypass of a service ends with the service: whoever gets its number did not panic.
func TestBypassLeavesWithItsService(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	if _, err := r.Bypass(ctx, root, api.BypassRequest{On: true, Service: "dns"}); err != nil {
		t.Fatal(err)
	}
	next := edited(t, "  - {name: dns, port: 53, kind: udp}\n", "")
	r.writeHost(next)
	h, err := config.LoadHost(r.hostPath())
	if err != nil {
		t.Fatal(err)
	}
	r.fake.next = h
	if _, err := r.Reload(ctx, root, api.ReloadRequest{}); err != nil {
		t.Fatal(err)
	}
	if r.machine.ServiceBypass(2) != 0 {
		t.Error("the bypass of a service outlives it")
	}
	r.machine.SetServiceBypass(9, loader.DeadlineForever) // an agent was killed in the middle of that
	r.tick(false)
	if r.machine.ServiceBypass(9) != 0 {
		t.Error("a number that nobody has is bypassed")
	}
}
