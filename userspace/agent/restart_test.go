// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
)

// reboot empties the kernel.
func (r *rig) reboot() {
	r.t.Helper()
	r.stop()
	r.machine = newMachine(func() time.Time { return r.clock })
	r.start()
}

func TestRestartAdoptsWithoutTouchingTraffic(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	before, publishes := r.machine.control, r.machine.did("Publish")
	r.restart()
	if r.machine.control != before || r.machine.did("Publish") != publishes || r.machine.did("BuildHost") != 1 {
		t.Errorf("control %+v, was %+v; calls %v", r.machine.control, before, r.machine.calls)
	}
	r.wantRoles("one", "", "")
	if s, _ := r.Status(ctx); !s.Protected {
		t.Errorf("problems %v", s.Problems)
	}
}

// Time that no agent watched is no bake.
func TestBakeDoesNotCountTheTimeWithoutAgent(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.pass(4 * time.Minute)
	r.machine.Beat()
	r.stop()
	r.clock = r.clock.Add(time.Hour)
	r.start()
	if r.knownGood() != "" {
		t.Error("an hour without an agent was a bake")
	}
	r.pass(6 * time.Minute)
	if r.knownGood() != "one" {
		t.Error("the rest of the bake was forgotten")
	}
}

func TestRestartWithACandidate(t *testing.T) {
	for _, row := range []struct {
		name      string
		lease     loader.Deadline
		away      time.Duration
		candidate string
		line      string
	}{
		{"lease dead", 0, time.Second, "", "confirm held"},
		{"lease dead, deadline over", 1, 5*time.Minute + time.Second, "", "confirm held"},
		{"lease alive", loader.In(time.Hour), time.Second, "two", ""},
		{"lease alive, deadline over", loader.In(time.Hour), time.Hour, "", "confirm rolled_back"},
	} {
		r := newRig(t)
		r.mustApply("one", api.ApplyOptions{})
		r.mustApply("two", api.ApplyOptions{Confirm: 5 * time.Minute})
		r.stop()
		r.machine.SetLease(row.lease)
		r.clock = r.clock.Add(row.away)
		r.start()
		r.wantRoles("one", row.candidate, "")
		if row.candidate == "" {
			r.wantLine(row.line)
			_, err := r.apply("two", api.ApplyOptions{})
			if held := errors.As(err, new(*api.Error)); held == (row.line == "confirm held") {
				t.Errorf("%s: applied again: %v", row.name, err)
			}
		} else if _, err := r.agent.Confirm(ctx, root, ""); err != nil {
			t.Errorf("%s: %v", row.name, err)
		}
		r.stop()
	}
}

func TestA46RebootComesBackWithLastKnownGood(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	r.mustApply("two", api.ApplyOptions{})
	r.reboot()
	r.wantRoles("one", "", "")
	r.wantLine("start done")
	if g, _ := r.machine.Generations(); g[0].Number != 3 {
		t.Errorf("number %d was used before", g[0].Number)
	}
	if s, _ := r.Status(ctx); !s.Protected || s.Bake != nil {
		t.Errorf("protected %v, bake %v", s.Protected, s.Bake)
	}
}

// The record and the bundle, changed in some bytes (the tests of state do each one): never a crash, and the right
// outcome.
func TestA20DamagedDisk(t *testing.T) {
	r := newRig(t)
	c := r.mustApply("one", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	r.stop()
	record := filepath.Join(r.dir, "state", "record.json")
	bundle := filepath.Join(r.dir, "state", "bundles", strings.TrimPrefix(c.Digest.String(), "sha256:"))
	kernel := r.machine
	for _, path := range []string{record, bundle} {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(whole); i += 61 {
			data := bytes.Clone(whole)
			data[i] ^= 0x41
			for _, reboot := range []bool{false, true} {
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
				r.machine = kernel
				if reboot {
					r.machine = newMachine(func() time.Time { return r.clock })
				}
				before := kernel.control
				r.start()
				stable := r.machine.Control().Stable != 0
				if stable == reboot {
					t.Fatalf("%s byte %d, reboot %v: stable %v", filepath.Base(path), i, reboot, stable)
				}
				if !reboot && kernel.control != before {
					t.Fatalf("%s byte %d: the kernel was touched: %+v", filepath.Base(path), i, kernel.control)
				}
				if path == record && !reboot && r.state().Applied.Number != 1 {
					t.Fatalf("byte %d: the record does not follow the kernel", i)
				}
				s, err := r.Status(ctx)
				if err != nil || (path == record || reboot) && !hasProblem(s, "damaged_state") {
					t.Fatalf("%s byte %d, reboot %v: nobody says so: %v, %v", filepath.Base(path), i, reboot, s.Problems, err)
				}
				r.stop()
				restore(t, r.dir, path, whole)
			}
		}
	}
}

// restore puts the damaged file back and removes what was moved aside.
func restore(t *testing.T, dir, path string, whole []byte) {
	t.Helper()
	for _, pattern := range []string{"state/*.corrupt-*", "state/bundles/*.corrupt-*"} {
		aside, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, a := range aside {
			if err := os.Remove(a); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHostFileEditedWithoutAgent(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.stop()
	r.writeHost(strings.ReplaceAll(hostYAML, "enforce", "observe"))
	r.start()
	if r.machine.control.Mode != bpf.ModeObserve {
		t.Error("the mode of the host file is not in force")
	}
	r.wantLine("reload done")
	r.wantRoles("one", "", "")
}

// The command line may act while no agent runs. The kernel is right.
func TestAdoptsWhatWasDoneWithoutAgent(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	r.mustApply("two", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	r.stop()
	if _, err := r.machine.change("Rollback", loader.Control.Rollback); err != nil {
		t.Fatal(err)
	}
	r.machine.SetBypass(loader.DeadlineForever)
	r.start()
	r.wantRoles("one", "", "")
	if r.state().Applied.Name() != "one" || r.knownGood() != "one" {
		t.Errorf("applied %q, last-known-good %q", r.state().Applied.Name(), r.knownGood())
	}
	if q := r.state().Quarantine; len(q) != 1 || q[0].By != "found" {
		t.Errorf("what was left is not in quarantine: %+v", q)
	}
	entries, _, _ := r.store.History(3)
	found := 0
	for _, e := range entries {
		if e.Outcome == api.OutcomeFound {
			found++
		}
	}
	if found != 2 {
		t.Errorf("history %+v", entries)
	}
	s, _ := r.Status(ctx)
	if s.Protected || !s.Bypass.Active || s.Bypass.By != "found" {
		t.Errorf("bypass %+v", s.Bypass)
	}
	r.machine.SetBypass(0)
	r.tick(false)
	if len(r.state().Bypass) != 0 {
		t.Error("the record still has a bypass")
	}
}
