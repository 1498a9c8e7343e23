// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
)

func (r *rig) back(to, reason string) (*api.Change, error) {
	return r.release.Rollback(ctx, root, api.RollbackRequest{To: to, Reason: reason})
}

// F19: doctor, init, run, apply, enforce, and then `rollback` said "no previous generation". It says where one can go,
// and goes there.
func TestF19RollbackWithoutPrevious(t *testing.T) {
	r := newRig(t)
	r.setMode("observe")
	r.mustApply("one", api.ApplyOptions{})
	r.writeHost(hostYAML)
	if _, err := r.Reload(ctx, root, api.ReloadRequest{}); err != nil {
		t.Fatal(err)
	}
	_, err := r.back("", "")
	if e := wantCode(t, err, api.CodeNoPrevious); !strings.Contains(e.Fix, "--to observe") ||
		!strings.Contains(e.Fix, "--to empty") || !strings.Contains(e.Message, "nothing changed") {
		t.Errorf("%+v", e)
	}
	if c, err := r.back(api.ToObserve, "drill"); err != nil || c.Outcome != api.OutcomeDone {
		t.Fatalf("%+v, %v", c, err)
	}
	for range 2 { // and after a restart
		if s, err := r.Status(ctx); err != nil || s.Mode != "observe" || !hasProblem(s, ledger.ProblemMode) ||
			r.role("stable") != "one" {
			t.Errorf("%+v, %v", s, err)
		}
		r.restart()
	}
	if _, err := r.Reload(ctx, root, api.ReloadRequest{}); err != nil {
		t.Fatal(err)
	}
	if s, _ := r.Status(ctx); s.Mode != "enforce" || hasProblem(s, ledger.ProblemMode) {
		t.Errorf("mode %s, problems %v", s.Mode, s.Problems)
	}
	if _, err := r.back(api.ToEmpty, "drill"); err != nil {
		t.Fatal(err)
	}
	r.wantRoles("", "", "")
	r.wantLine("rollback done")
	_, err = r.apply("one", api.ApplyOptions{})
	wantCode(t, err, api.CodeHeld)
	for range 2 { // nothing comes back by itself
		r.reboot()
		r.wantRoles("", "", "")
	}
}

// F19: any generation that was in force and whose bundle is on disk can be gone back to.
func TestF19RollbackToAnyGeneration(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"one", "two", "three", "four"} {
		r.mustApply(name, api.ApplyOptions{})
		r.clock = r.clock.Add(time.Minute)
	}
	s, err := r.Status(ctx)
	if err != nil || len(s.Stored) != 3 || s.Stored[0].Name != "three" || s.Stored[2].Name != "one" {
		t.Fatalf("stored %+v, %v", s.Stored, err)
	}
	c, err := r.back(fmt.Sprint(s.Stored[2].Number), "login broke")
	if err != nil || c.Name != "one" || c.Number <= 4 {
		t.Fatalf("%+v, %v", c, err)
	}
	r.wantRoles("one", "", "")
	_, err = r.apply("four", api.ApplyOptions{})
	wantCode(t, err, api.CodeHeld)
	// Back to what was left needs a reason.
	_, err = r.back("4", " ")
	wantCode(t, err, api.CodeHeld)
	if _, err := r.back("4", "it was the other one"); err != nil {
		t.Fatal(err)
	}
	r.wantRoles("four", "", "")
	for to, code := range map[string]string{"99": api.CodeNotFound, "0": api.CodeInvalid, "nowhere": api.CodeInvalid,
		"-1": api.CodeInvalid} {
		_, err := r.back(to, "")
		wantCode(t, err, code)
	}
	// What is previous is gone back to at once.
	r.mustApply("five", api.ApplyOptions{})
	builds := r.machine.did("Build")
	if c, err := r.back(fmt.Sprint(r.state().Previous.Number), ""); err != nil || c.Name != "four" ||
		r.machine.did("Build") != builds {
		t.Errorf("%+v, %v", c, err)
	}
}

// note is what the command leaves beside an agent that hangs, after its compare-and-swap.
func (r *rig) leaveNote(b state.Back, swap func(loader.Control) (loader.Control, error)) {
	r.t.Helper()
	if _, err := r.machine.change("beside", swap); err != nil {
		r.t.Fatal(err)
	}
	b.At, b.By, b.Reason = r.clock, "root", "it hangs"
	if err := state.LeaveNote(r.host.Paths.State, b); err != nil {
		r.t.Fatal(err)
	}
}

// F14: a rollback beside an agent that did not answer. When it goes on, or the next one starts, the record follows; no
// candidate comes back.
func TestF14RollbackBesideAHungAgent(t *testing.T) {
	for _, dies := range []bool{false, true} {
		t.Run(fmt.Sprintf("dies_%t", dies), func(t *testing.T) {
			r := newRig(t)
			one := r.mustApply("one", api.ApplyOptions{})
			two := r.mustApply("two", api.ApplyOptions{})
			goesOn := func() {
				if dies {
					r.restart()
				} else {
					r.pass(time.Second)
				}
			}
			r.leaveNote(state.Back{Way: state.BackGeneration, To: state.Generation{Digest: one.Digest, Number: one.Number},
				Left: two.Digest}, loader.Control.Rollback)
			goesOn()
			r.wantRoles("one", "", "")
			r.wantLine("rollback done")
			if now := r.state(); now.Applied.Digest != one.Digest || now.Applied.By != "" && now.Applied.By == "found" ||
				len(now.Quarantine) != 1 || now.Quarantine[0].Reason != "it hangs" {
				t.Errorf("%+v, %+v", now.Applied, now.Quarantine)
			}
			three := r.mustApply("three", api.ApplyOptions{Confirm: time.Hour})
			r.machine.SetTripped(three.Number)
			r.leaveNote(state.Back{Way: state.BackCandidate, To: state.Generation{Digest: three.Digest, Number: three.Number},
				Left: three.Digest}, loader.Control.Withdraw)
			goesOn()
			r.wantRoles("one", "", "")
			if now := r.state(); now.Confirm != nil || now.Held != nil || len(now.Quarantine) != 2 ||
				r.machine.Lease().Active() {
				t.Errorf("%+v, %+v, %+v", now.Confirm, now.Held, now.Quarantine)
			}
			left, _ := r.store.Notes()
			if len(left) != 0 {
				t.Errorf("notes stay: %+v", left)
			}
		})
	}
}

// F14: the agent was stopped in the middle of an apply: while it read the bundle, while it built it, even between its
// last look and its store. What was asked for before somebody went back is refused.
func TestF14HungInAnApply(t *testing.T) {
	for _, confirm := range []time.Duration{0, time.Hour} {
		for _, at := range []string{"parse", "Build", "Publish"} {
			r := newRig(t)
			version := func(entry string, o api.ApplyOptions) (*api.Change, error) {
				return r.agent.Apply(ctx, root, "bundle.yaml", bundleYAML("one", entry), o)
			}
			one := r.mustApply("one", api.ApplyOptions{})
			two, err := version("198.18.7.0/24", api.ApplyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			stopped := func() {
				r.machine.during, r.agent.opts.own = nil, func() ([]netip.Addr, error) { return r.own, nil }
				r.leaveNote(state.Back{Way: state.BackGeneration, To: state.Generation{Digest: one.Digest, Number: one.Number},
					Left: two.Digest}, loader.Control.Rollback)
			}
			if at == "parse" { // the bundle is read against the host's own addresses
				r.agent.opts.own = func() ([]netip.Addr, error) { stopped(); return r.own, nil }
			} else {
				r.machine.during = map[string]func(){at: stopped}
			}
			_, err = version("198.18.8.0/24", api.ApplyOptions{Confirm: confirm})
			wantCode(t, err, api.CodeConflict)
			r.pass(time.Second)
			r.wantRoles("one", "", "")
			if now := r.state(); now.Applied.Digest != one.Digest || now.Confirm != nil || r.machine.Lease().Active() {
				t.Errorf("%s: %+v, %+v", at, now.Applied, now.Confirm)
			}
		}
	}
}

// F19: a bundle of the state folder can be applied again, by the number of a generation that had it or by its digest.
// One that lapsed needs no reason for it, one that was rolled back does.
func TestF19ApplyAStoredBundle(t *testing.T) {
	r := newRig(t)
	one := r.mustApply("one", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{})
	stored := func(ref, accept string) (*api.Rollout, error) {
		remove := ""
		if now := r.role("stable"); now != "one" {
			remove = now // both have a policy
		}
		return r.release.StartRollout(ctx, root, api.RolloutRequest{Stored: ref, Accept: accept, Remove: remove}, nil)
	}
	for _, ref := range []string{fmt.Sprint(one.Number), strings.TrimPrefix(one.Digest.String(), "sha256:")[:12],
		one.Digest.String()} {
		if c, err := stored(ref, ""); err != nil || c.Name != "one" || c.Outcome == api.OutcomeFailed {
			t.Errorf("%s: %+v, %v", ref, c, err)
		}
		r.wantRoles("one", "", "two")
	}
	for _, ref := range []string{"99", "ffffffffffff", "fff", "one"} {
		_, err := stored(ref, "")
		wantCode(t, err, api.CodeNotFound)
	}
	if _, err := r.back("", "no"); err != nil {
		t.Fatal(err)
	}
	_, err := stored(one.Digest.String(), "")
	wantCode(t, err, api.CodeHeld)
	if _, err := stored(one.Digest.String(), "it was the other one"); err != nil {
		t.Fatal(err)
	}
	r.wantRoles("one", "", "two")
}

// F19: "until `spillway reload`" was not true over a reboot: a host with a last-known-good bundle blocked again by
// itself. And the problem told of a bundle that never was last-known-good, which is another way to be held.
func TestF19ObserveOutlivesAReboot(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	if r.knownGood() == "" {
		t.Fatal("it did not bake")
	}
	if _, err := r.back(api.ToObserve, "drill"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s, err := r.Status(ctx)
		if err != nil || s.Mode != "observe" || r.role("stable") != "one" {
			t.Errorf("mode %s, stable %s, %v", s.Mode, r.role("stable"), err)
		}
		told := false
		for _, p := range s.Problems {
			if p.Code == ledger.ProblemMode {
				told = strings.Contains(p.Message, "rolled back to observe") && !strings.Contains(p.Message, "last-known-good")
			}
		}
		if !told {
			t.Errorf("problems %+v", s.Problems)
		}
		r.reboot()
	}
	if _, err := r.Reload(ctx, root, api.ReloadRequest{}); err != nil {
		t.Fatal(err)
	}
	r.reboot()
	if s, _ := r.Status(ctx); s.Mode != "enforce" || hasProblem(s, ledger.ProblemMode) {
		t.Errorf("mode %s, problems %v", s.Mode, s.Problems)
	}
}

// A host that observes by its file is not told that its file says enforce.
func TestF17ObserveWhereTheFileObserves(t *testing.T) {
	r := newRig(t)
	r.setMode("observe")
	if _, err := r.back(api.ToObserve, "drill"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if s, err := r.Status(ctx); err != nil || hasProblem(s, ledger.ProblemMode) {
			t.Errorf("%+v, %v", s.Problems, err)
		}
		r.reboot()
	}
}
