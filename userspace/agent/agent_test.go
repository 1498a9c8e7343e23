// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
)

var ctx = context.Background()

func TestApplyBakesIntoLastKnownGood(t *testing.T) {
	r := newRig(t)
	if s, _ := r.Status(ctx); s.Protected || s.Mode != "enforce" || len(s.Services) != 2 {
		t.Errorf("before the first bundle: %+v", s)
	}
	c := r.mustApply("one", api.ApplyOptions{Reason: "first"})
	if c.Outcome != api.OutcomeApplied || c.Number != 1 || !c.BakeUntil.Equal(r.clock.Add(10*time.Minute)) {
		t.Errorf("change %+v", c)
	}
	r.wantLine("apply applied")
	if s, _ := r.Status(ctx); !s.Protected || s.Bake == nil {
		t.Errorf("after it: protected %v, bake %v, problems %v", s.Protected, s.Bake, s.Problems)
	}
	r.pass(10*time.Minute - time.Second)
	if r.knownGood() != "" {
		t.Error("last-known-good before the bake is over")
	}
	r.pass(time.Second)
	if r.knownGood() != "one" {
		t.Error("not last-known-good after the bake")
	}
	r.wantLine("bake done")
	again := r.mustApply("one", api.ApplyOptions{})
	if again.Outcome != api.OutcomeUnchanged || r.machine.did("Publish") != 2 {
		t.Errorf("the same again: %+v, %d publishes", again, r.machine.did("Publish"))
	}
	r.mustApply("two", api.ApplyOptions{})
	r.wantRoles("two", "", "one")
	if r.knownGood() != "one" {
		t.Error("a bundle is last-known-good at once")
	}
}

func TestRollbackBeforeBakeKeepsLastKnownGood(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	r.mustApply("two", api.ApplyOptions{})
	c, err := r.release.Rollback(ctx, root, api.RollbackRequest{Reason: "login broke"})
	if err != nil || c.Name != "one" {
		t.Fatalf("%+v, %v", c, err)
	}
	r.wantLine("rollback done")
	r.wantRoles("one", "", "")
	r.pass(time.Hour)
	if r.knownGood() != "one" || r.state().Applied.Name() != "one" {
		t.Errorf("last-known-good %q, applied %q", r.knownGood(), r.state().Applied.Name())
	}
	_, err = r.apply("two", api.ApplyOptions{})
	e := wantCode(t, err, api.CodeHeld)
	if len(e.Holds) != 1 || e.Holds[0].Code != "quarantined" || !strings.Contains(e.Holds[0].Text, "login broke") {
		t.Errorf("holds %+v", e.Holds)
	}
	r.wantLine("apply held")
	r.mustApply("two", api.ApplyOptions{Accept: "fixed the login"})
	r.mustApply("three", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{})
	_, err = r.release.Rollback(ctx, root, api.RollbackRequest{Reason: ""})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.release.Rollback(ctx, root, api.RollbackRequest{Reason: ""})
	wantCode(t, err, api.CodeNoPrevious)
}

// What was left must not come back with a reboot, although it had baked.
func TestRollbackAfterBakeMovesLastKnownGood(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	r.mustApply("two", api.ApplyOptions{})
	r.pass(10 * time.Minute)
	if r.knownGood() != "two" {
		t.Fatal("two has not baked")
	}
	if _, err := r.release.Rollback(ctx, root, api.RollbackRequest{Reason: ""}); err != nil {
		t.Fatal(err)
	}
	if r.knownGood() != "one" {
		t.Errorf("last-known-good is %q", r.knownGood())
	}
	r.reboot()
	r.wantRoles("one", "", "")
}

func TestConfirm(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	c := r.mustApply("two", api.ApplyOptions{Confirm: 5 * time.Minute})
	if c.Outcome != api.OutcomeCandidate || !c.Deadline.Equal(r.clock.Add(5*time.Minute)) {
		t.Errorf("%+v", c)
	}
	r.wantRoles("one", "two", "")
	if r.machine.control.Canary != 1000 || !r.machine.Lease().Active() || r.machine.Lease().Left() > 5*time.Second {
		t.Errorf("canary %d, lease %v", r.machine.control.Canary, r.machine.Lease().Left())
	}
	if again := r.mustApply("two", api.ApplyOptions{}); again.Outcome != api.OutcomeUnchanged || again.Deadline.IsZero() {
		t.Errorf("the candidate again: %+v", again)
	}
	if next := r.mustApply("three", api.ApplyOptions{}); next.Outcome != api.OutcomeQueued {
		t.Errorf("beside a candidate: %+v", next)
	}
	if _, err := r.release.EndRollout(ctx, root, r.newest().ID, ""); err != nil {
		t.Error(err)
	}
	r.pass(5*time.Minute - time.Second)
	if _, err := r.agent.Confirm(ctx, root, "looks good"); err != nil {
		t.Fatal(err)
	}
	r.wantLine("confirm done")
	r.wantRoles("two", "", "one")
	if r.machine.Lease().Active() {
		t.Error("the lease of a candidate that is stable now")
	}
	r.pass(10 * time.Minute)
	if r.knownGood() != "two" {
		t.Error("a confirmed bundle does not bake")
	}
	_, err := r.agent.Confirm(ctx, root, "")
	wantCode(t, err, api.CodeNoCandidate)
}

// F19: an unconfirmed candidate goes back by itself and is quarantined.
func TestConfirmDeadline(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{Confirm: 5 * time.Minute})
	r.pass(5 * time.Minute)
	r.wantLine("confirm rolled_back")
	r.wantRoles("one", "", "")
	if r.state().Confirm != nil {
		t.Error("the record still waits")
	}
	_, err := r.agent.Confirm(ctx, root, "too late")
	wantCode(t, err, api.CodeNoCandidate)
	// F19: one that nobody confirmed waits in quarantine, as one that was rolled back does.
	_, err = r.apply("two", api.ApplyOptions{})
	if e := wantCode(t, err, api.CodeHeld); e.Holds[0].Code != "quarantined" {
		t.Errorf("%+v", e.Holds)
	}
	r.mustApply("two", api.ApplyOptions{Confirm: time.Minute, Accept: "this time somebody looks"})
	if _, err := r.release.Rollback(ctx, root, api.RollbackRequest{Reason: "no"}); err != nil {
		t.Fatal(err)
	}
	r.wantRoles("one", "", "")
	_, err = r.apply("two", api.ApplyOptions{})
	wantCode(t, err, api.CodeHeld)
}

// F7: the lease of a candidate ended while the agent was stopped. It is held, and not quarantined: that says nothing
// against the bundle.
func TestF7LapsedCandidateIsHeld(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{Confirm: 5 * time.Minute})
	r.machine.SetLease(loader.Present())
	r.pass(time.Second)
	r.wantRoles("one", "", "")
	r.wantLine("confirm held")
	if now := r.state(); now.Confirm != nil || now.Held == nil || now.Held.Name() != "two" ||
		!r.machine.Tripped().Has(now.Held.Number) || r.machine.Lease().Active() {
		t.Errorf("record %+v, tripped %+v, lease %v", now, r.machine.Tripped(), r.machine.Lease().Left())
	}
	_, err := r.agent.Confirm(ctx, root, "")
	wantCode(t, err, api.CodeNoCandidate)
	// Also when the agent slept beyond the deadline.
	r.mustApply("two", api.ApplyOptions{Confirm: 5 * time.Minute})
	r.machine.SetLease(loader.Present())
	r.pass(6 * time.Minute)
	r.wantLine("confirm held")
	r.mustApply("two", api.ApplyOptions{})
	if r.state().Held != nil {
		t.Error("held, although it is in force")
	}
}

func hasProblem(s *api.Status, code string) bool {
	for _, p := range s.Problems {
		if p.Code == code {
			return true
		}
	}
	return false
}
