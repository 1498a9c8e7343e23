// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/plane"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/rollout"
)

var small = config.Capacity{Prefixes4: 1024, Prefixes6: 1024, TCPFingerprints: 256, Rules: 64, Flows: 4096, Syns: 4096,
	Hellos: 64, Shapes: 4096, Bans: 64, Allowlist: 64, Services: 16}

func open(t *testing.T) *plane.Plane {
	t.Helper()
	p, err := plane.Open("rollout", loader.Options{Capacity: small})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return p
}

// decided fails the test unless something was decided.
func (tr *trace) decided(what string) {
	tr.t.Helper()
	for _, line := range tr.log {
		if strings.Contains(line, what) {
			return
		}
	}
	tr.t.Errorf("never %q:\n%s", what, strings.Join(tr.log, "\n"))
}

// Each way that a rollout can take, on both kernels.
func TestRolloutsOnBothKernels(t *testing.T) {
	r, p := enter(t), open(t)
	h := hostFiles(t)[0].Host
	make := func(name string, declared, undeclared []int) *config.Bundle {
		return bundle(t, h, name, declared, undeclared)
	}
	first := make("base", between(0, 3), nil)
	second := make("base", between(0, 6), nil)
	harms := make("base", between(0, 3), between(6, 36))
	usual := between(0, 40)
	in := func(tr *trace) {
		tr.apply(first, api.RolloutRequest{})
		tr.until("", nil, usual...)
	}
	none := api.RolloutRequest{}
	for _, c := range []struct {
		name string
		says string
		do   func(tr *trace)
	}{
		{"clean to the end", "is last-known-good", func(tr *trace) {
			tr.apply(second, none)
			tr.until("", nil, usual...)
		}},
		{"undeclared blocks are held in shadow", "it was not declared", func(tr *trace) {
			tr.apply(harms, none)
			tr.until("", nil, usual...)
		}},
		{"harm in the canary", "it was not declared", func(tr *trace) {
			tr.apply(harms, none)
			tr.until("canary", nil, between(0, 6)...)
			tr.until("", nil, usual...)
		}},
		{"sources of the canary fail", "of the canary's", func(tr *trace) {
			tr.apply(make("base", between(0, 3), []int{58}), none)
			tr.until("canary", nil, usual...)
			tr.until("", func(n int) bool { return tr.sim.Word.Canary == 500 && tr.sim.Word.Candidate != 0 && inCanary(tr, n) },
				usual...)
		}},
		{"a declared block takes its prefix out of the arms", "", func(tr *trace) {
			tainted := []int{42, 45, 48, 51} // of each a second host is blocked
			tr.apply(make("base", append(between(0, 3), tainted...), nil), none)
			for tr.sim.Word.Canary != 500 {
				tr.look(nil, between(0, 6)...)
			}
			tr.look(nil, tainted...)
			tr.look(func(int) bool { return true }, tainted...)
		}},
		{"the budget trips in the bake", "used up its budget", func(tr *trace) {
			tr.apply(harms, none)
			tr.until("bake", nil, between(0, 6)...)
			tr.look(nil, between(0, 6)...)
			tr.until("", nil, usual...)
		}},
		{"a protected source", "a protected source", func(tr *trace) {
			tr.apply(make("base", []int{0, allowed[0]}, nil), none)
			tr.look(nil, usual...)
			tr.look(nil, usual...)
			tr.until("", nil, allowed...)
		}},
		{"a relaxation beside a rollout", "lets more pass", func(tr *trace) {
			tr.apply(make("beside", between(40, 44), nil), none)
			tr.until("canary", nil, usual...)
			tr.apply(make("base", between(0, 2), nil), none)
			tr.until("", nil, usual...)
		}},
		{"a list update that rebases", "keeps its evidence", func(tr *trace) {
			tr.apply(make("beside", between(40, 44), nil), none)
			tr.until("canary", nil, between(0, 50)...)
			tr.apply(make("base", between(0, 4), nil), none)
			for range 14 {
				tr.look(nil, between(0, 50)...)
			}
			tr.until("", nil, between(0, 50)...)
		}},
		{"an emergency", "100 % of the sources", func(tr *trace) {
			tr.apply(second, none)
			tr.until("canary", nil, usual...)
			tr.apply(make("beside", between(40, 44), nil), api.RolloutRequest{Emergency: true, Reason: "an attack"})
			for range 25 {
				tr.look(nil, between(0, 50)...)
			}
		}},
		{"an emergency in a bake", "while it waited", func(tr *trace) {
			tr.apply(harms, none)
			tr.until("bake", nil, between(0, 6)...)
			tr.look(nil, between(0, 6)...)
			tr.apply(make("beside", between(40, 44), nil), api.RolloutRequest{Emergency: true, Reason: "an attack"})
			for range 4 {
				tr.look(nil, between(0, 6)...)
			}
			for range 10 {
				tr.look(nil, usual...)
			}
		}},
		{"a lease lapses", "its lease ended", func(tr *trace) {
			tr.apply(second, none)
			tr.until("canary", nil, usual...)
			tr.look(nil, usual...)
			tr.away(time.Minute, usual...)
			tr.until("", nil, usual...)
		}},
		{"the agent starts again", "is last-known-good", func(tr *trace) {
			tr.apply(second, none)
			for _, stage := range []string{"shadow", "canary", "bake"} {
				tr.until(stage, nil, usual...)
				tr.look(nil, usual...)
				tr.restart()
			}
			tr.until("", nil, usual...)
		}},
		{"the host observes", "while this host observes", func(tr *trace) {
			tr.reload(1)
			tr.apply(second, none)
			tr.until("", nil, usual...)
			tr.look(nil, usual...)
		}},
		{"it begins to observe in the canary", "is last-known-good", func(tr *trace) {
			tr.apply(second, none)
			tr.until("canary", nil, usual...)
			tr.reload(1)
			tr.look(nil, usual...)
			tr.reload(0)
			tr.until("", nil, usual...)
		}},
		{"votes find no room", "", func(tr *trace) {
			tr.apply(second, none)
			tr.until("shadow", nil, between(0, 10)...)
			tr.look(nil, between(0, 10)...)
			for _, s := range tr.both {
				s.k.full()
			}
			tr.until("canary", nil, usual...)
			tr.look(nil, usual...)
		}},
		{"a bypass, and a person", "aborts it", func(tr *trace) {
			tr.apply(second, none)
			tr.until("canary", nil, usual...)
			for _, on := range []bool{true, false} {
				for _, s := range tr.both {
					s.k.pass(on)
				}
				tr.look(nil, usual...)
			}
			tr.command(rollout.VerbAbort)
			tr.look(nil, usual...)
		}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			tr := newTrace(t, r, p)
			in(tr)
			tr.log = nil
			c.do(tr)
			if c.says != "" {
				tr.decided(c.says)
			}
		})
	}
}

// inCanary reports whether a group is the canary's, by the fake.
func inCanary(tr *trace, n int) bool { return tr.sim.InCanary(source(n, 0)) }
