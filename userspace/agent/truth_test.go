// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
)

// harmlessBundle is one whose policy never blocks.
func harmlessBundle() api.Files {
	files := bundleYAML("harmless")
	files[config.BundleFile] = []byte(strings.NewReplacer("score: 100", "score: 40", "score: 90", "score: 30").
		Replace(string(files[config.BundleFile])))
	return files
}

var saysInForce = regexp.MustCompile(`generation \d+ is in force`)

// TestF17AgentsWords asks the agent for changes in each state of its host. What it may say is derived from what the
// kernel does: a ban that drops nothing is not "banned", a generation that blocks nobody is not "in force".
func TestF17AgentsWords(t *testing.T) {
	for _, m := range []struct {
		name        string
		change      func(*rig)
		bans, rules bool // whether they block
		unknown     bool // another program is on the card
	}{
		{"enforce", func(*rig) {}, true, true, false},
		{"observe", func(r *rig) {
			r.writeHost(strings.Replace(hostYAML, "max_mode: enforce", "max_mode: observe", 1))
			r.restart()
		}, false, false, false},
		{"bypass", func(r *rig) { r.machine.SetBypass(loader.DeadlineForever) }, true, true, false}, // once it is off
		{"bypass of every service", func(r *rig) {
			r.machine.SetServiceBypass(1, loader.DeadlineForever)
			r.machine.SetServiceBypass(2, loader.DeadlineForever)
		}, true, false, false},
		{"nothing behind the root program", func(r *rig) {
			r.machine.wiring = []compile.Drift{
				{Where: compile.WherePrograms, Want: "the dataplane", Got: "nothing: what it would see passes"}}
		}, false, false, false},
		{"a lost interface", func(r *rig) { r.devices = map[string]int{"eth0": 0}; r.machine.links = map[string]string{} },
			false, false, false},
		{"another program on the card", func(r *rig) { r.machine.onCard = map[string]uint32{"eth0": 9} }, false, false, true},
	} {
		t.Run(m.name, func(t *testing.T) {
			r := newRig(t)
			r.mustApply("zero", api.ApplyOptions{})
			m.change(r)
			says := func(what string, c *api.Change, err error) {
				t.Helper()
				if err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
				text := c.Message
				bypassed := r.machine.Bypass().Active()
				if strings.Contains(text, "is banned for") && (!m.bans || m.unknown || bypassed) {
					t.Errorf("%s says %q, and drops nothing", what, text)
				}
				if saysInForce.MatchString(text) && (!m.rules || m.unknown || bypassed) {
					t.Errorf("%s says %q, and nobody is blocked", what, text)
				}
				if strings.Contains(text, "everything passes") && !strings.Contains(text, "passes there") && m.unknown {
					t.Errorf("%s says %q, and another program is on the card", what, text)
				}
				if strings.Contains(text, "only bans block") && !m.bans {
					t.Errorf("%s says %q, and bans do not block", what, text)
				}
				if strings.Contains(text, "is judged again") && !m.rules && !m.unknown &&
					!strings.Contains(text, "; nothing is blocked: ") && !strings.Contains(text, "; only bans block: ") {
					t.Errorf("%s says %q, and not that nothing comes of it", what, text)
				}
				if m.unknown && len(c.Incomplete) == 0 && !strings.Contains(text, "not known") && !strings.Contains(text, "back") {
					t.Errorf("%s says %q, and not that another program is on the card", what, text)
				}
			}
			c, err := r.agent.bans.Ban(ctx, root, api.BanRequest{Prefix: "198.51.100.0/24"})
			says("ban", c, err)
			_, err = r.agent.bans.Unban(ctx, root, "198.51.100.7", "")
			if e := wantCode(t, err, api.CodeNotFound); !strings.Contains(e.Message+e.Fix, "198.51.100.0/24") ||
				strings.Contains(e.Message, "is not banned") {
				t.Errorf("unban of an address inside a banned /24 says %q, fix %q", e.Message, e.Fix)
			}
			c, err = r.apply("one", api.ApplyOptions{})
			says("apply", c, err)
			c, err = r.agent.release.Rollback(ctx, root, api.RollbackRequest{})
			says("rollback", c, err)
			c, err = r.agent.bypass.Set(ctx, root, api.BypassRequest{On: true, ForSeconds: 60})
			says("bypass on", c, err)
			if s, _ := r.Status(ctx); s.Protected || m.unknown && s.State != api.StateUnknown {
				t.Errorf("under bypass: %s, %q", s.State, s.Says)
			}
			c, err = r.agent.bans.Ban(ctx, root, api.BanRequest{Prefix: "192.0.2.77"})
			says("ban under bypass", c, err)
			if err == nil && !m.unknown && !strings.Contains(c.Message, "blocks nothing now: ") {
				t.Errorf("ban under bypass says %q", c.Message)
			}
			c, err = r.agent.bypass.Set(ctx, root, api.BypassRequest{})
			says("bypass off", c, err)
			s, err := r.Status(ctx)
			if err != nil || s.Protected != (m.rules && !m.unknown) {
				t.Errorf("status: protected %t in state %s: %v", s.Protected, s.State, err)
			}
		})
	}
}

// A policy that never blocks is neither "protected" nor "in force" without a word of it.
func TestF17HarmlessPolicyIsNoProtection(t *testing.T) {
	r := newRig(t)
	c, err := r.agent.Apply(ctx, root, "bundle.yaml", harmlessBundle(), api.ApplyOptions{})
	if err != nil || !strings.Contains(c.Message, "blocks nobody now") {
		t.Fatalf("apply: %+v, %v", c, err)
	}
	s, err := r.Status(ctx)
	if err != nil || s.Protected || s.State != api.StateIdle || !hasProblem(s, "never_blocks") {
		t.Errorf("status: %s, problems %v, %v", fmt.Sprint(s.State, s.Says), s.Problems, err)
	}
}
