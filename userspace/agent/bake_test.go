// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
)

// A bundle that decides nothing does not become last-known-good.
func TestA19NoBakeWithoutDeciding(t *testing.T) {
	for _, row := range []struct {
		name   string
		idle   func(*rig)
		decide func(*rig)
	}{
		{"bypass", func(r *rig) { r.machine.SetBypass(loader.DeadlineForever) }, func(r *rig) { r.machine.SetBypass(0) }},
		{"bypass of a service", func(r *rig) { r.machine.SetServiceBypass(1, loader.DeadlineForever) },
			func(r *rig) { r.machine.SetServiceBypass(1, 0) }},
		{"observe", func(r *rig) { r.setMode("observe") }, func(r *rig) { r.setMode("enforce") }},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			r.mustApply("one", api.ApplyOptions{})
			row.idle(r)
			for range 10 {
				r.pass(10 * time.Minute)
			}
			if s, err := r.Status(ctx); err != nil || r.knownGood() != "" || s.Bake == nil || s.Bake.Waits == "" {
				t.Fatalf("it baked while it decided nothing: %q, %+v, %v", r.knownGood(), s.Bake, err)
			}
			row.decide(r)
			r.tick(false)
			r.pass(10*time.Minute - time.Second)
			if r.knownGood() != "" {
				t.Error("the bake did not begin anew")
			}
			r.pass(time.Second)
			if r.knownGood() != "one" {
				t.Error("it never bakes")
			}
		})
	}
}

func (r *rig) setMode(mode string) {
	r.t.Helper()
	r.writeHost(strings.ReplaceAll(hostYAML, "max_mode: enforce", "max_mode: "+mode))
	r.restart()
}

// A host that only observes gets back what it had.
func TestObservingHostComesBackWithTheApplied(t *testing.T) {
	r := newRig(t)
	r.setMode("observe")
	r.mustApply("one", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	r.reboot()
	r.wantRoles("one", "", "")
	if r.knownGood() != "" {
		t.Error("observing made it last-known-good")
	}
}

// A host that only observed, and whose file says enforce when it boots again, comes back with its bundle and blocks
// nobody until a person says so.
func TestObservedHostThatShallEnforceAfterAReboot(t *testing.T) {
	r := newRig(t)
	r.setMode("observe")
	r.mustApply("one", api.ApplyOptions{})
	r.stop()
	r.writeHost(hostYAML)
	r.machine = newMachine(func() time.Time { return r.clock })
	r.start()
	for range 2 { // at the boot, and when the agent starts again
		r.wantRoles("one", "", "")
		s, err := r.Status(ctx)
		if err != nil || s.Mode != "observe" || s.MaxMode != "enforce" || !hasProblem(s, ledger.ProblemMode) {
			t.Errorf("mode %s of %s, problems %v, %v", s.Mode, s.MaxMode, s.Problems, err)
		}
		r.restart()
	}
	_, err := r.Reload(ctx, root, api.ReloadRequest{Ask: true})
	if e := wantCode(t, err, api.CodeHeld); !strings.Contains(e.Holds[0].Text, "max_mode") {
		t.Errorf("%+v", e)
	}
	if _, err := r.Reload(ctx, root, api.ReloadRequest{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if s, _ := r.Status(ctx); s.Mode != "enforce" || hasProblem(s, ledger.ProblemMode) {
			t.Errorf("mode %s, problems %v", s.Mode, s.Problems)
		}
		r.restart()
	}
	r.tick(false)
	r.pass(10 * time.Minute)
	if r.knownGood() != "one" {
		t.Error("it never bakes")
	}
	r.reboot()
	if s, _ := r.Status(ctx); s.Mode != "enforce" || !s.Protected {
		t.Errorf("after another reboot: mode %s, problems %v", s.Mode, s.Problems)
	}
}

// F14: a stopped agent saw nothing of what its bundle did, so that time is no part of the bake.
func TestF14BakeWaitsForAStoppedAgent(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.pass(4 * time.Minute)
	r.plane.Beat().NoteSlept(30 * time.Minute) // as the heartbeat finds when it goes on
	r.pass(30 * time.Minute)
	if r.knownGood() != "" {
		t.Fatal("it baked while the agent was stopped")
	}
	r.pass(6*time.Minute - time.Second)
	if r.knownGood() != "" {
		t.Error("it baked too early")
	}
	r.pass(time.Second)
	if r.knownGood() != "one" {
		t.Error("it never bakes")
	}
}
