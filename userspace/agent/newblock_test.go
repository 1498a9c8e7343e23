// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

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

// Who asks is told what a host file can newly block, and nothing happens. Who does not ask is told what happened.
func TestReloadAsks(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	before := r.machine.control
	r.writeHost(edited(t, officeLine, ""))
	_, err := r.Reload(ctx, root, api.ReloadRequest{Ask: true})
	if e := wantCode(t, err, api.CodeHeld); len(e.Holds) != 1 || !strings.Contains(e.Holds[0].Text, "office") ||
		r.machine.control != before {
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
			if err != nil || after.Host == before.Host || after.Stable != before.Stable || after.Candidate != before.Candidate ||
				len(c.Details) < 2 {
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
	if _, err := r.bypass.Set(ctx, root, api.BypassRequest{On: true, Service: "dns"}); err != nil {
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
