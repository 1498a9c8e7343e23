// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/release"
)

// newest returns the rollout that was asked for last.
func (r *rig) newest() api.Rollout {
	r.t.Helper()
	all, err := r.release.Rollouts(ctx)
	if err != nil || len(all.Rollouts) == 0 {
		r.t.Fatalf("rollouts: %+v, %v", all, err)
	}
	return all.Rollouts[0]
}

// Each way of an apply is a rollout with an id and a state that says how it went.
func TestRolloutStates(t *testing.T) {
	r := newRig(t)
	want := func(id, state, outcome string) {
		t.Helper()
		ro := r.newest()
		over := state != api.RolloutWaiting
		if ro.ID != id || ro.State != state || ro.Outcome != outcome || ro.Ended.IsZero() == over || ro.Over() != over ||
			ro.Created.IsZero() || ro.By != "root" || ro.Kind != api.RolloutApply {
			t.Errorf("got %+v, want rollout %s, %s, %s", ro, id, state, outcome)
		}
	}
	r.mustApply("one", api.ApplyOptions{Reason: "first"})
	want("1", api.RolloutDone, api.OutcomeApplied)
	r.mustApply("one", api.ApplyOptions{})
	want("2", api.RolloutDone, api.OutcomeUnchanged)
	_, err := r.agent.Apply(ctx, root, "b.yaml", bundleYAML("x", "nonsense"), api.ApplyOptions{})
	if e := wantCode(t, err, api.CodeRefused); e.Rollout != "3" {
		t.Errorf("a refusal names rollout %q", e.Rollout)
	}
	want("3", api.RolloutRefused, api.OutcomeRefused)
	if ro := r.newest(); ro.Refusal == nil || ro.Refusal.Faults == nil {
		t.Errorf("the refused rollout does not say why: %+v", ro)
	}
	_, err = r.agent.Apply(ctx, root, "b.yaml", bundleYAML("two", many(100)...), api.ApplyOptions{})
	wantCode(t, err, api.CodeHeld)
	want("4", api.RolloutHeld, api.OutcomeHeld)
	r.mustApply("two", api.ApplyOptions{Confirm: time.Minute})
	want("5", api.RolloutWaiting, api.OutcomeCandidate)
	if _, err := r.agent.Confirm(ctx, root, ""); err != nil {
		t.Fatal(err)
	}
	want("5", api.RolloutDone, api.OutcomeApplied)
	r.mustApply("three", api.ApplyOptions{Confirm: time.Minute})
	r.pass(time.Minute)
	want("6", api.RolloutWithdrawn, api.OutcomeRolledBack)
	r.mustApply("four", api.ApplyOptions{Confirm: time.Minute})
	if _, err := r.release.Rollback(ctx, root, api.RollbackRequest{Reason: ""}); err != nil {
		t.Fatal(err)
	}
	want("7", api.RolloutWithdrawn, api.OutcomeRolledBack)
	late := api.WithDeadline(ctx, time.Now().Add(-time.Second))
	_, err = r.agent.Apply(late, root, "", bundleYAML("five"), api.ApplyOptions{})
	wantCode(t, err, api.CodeCancelled)
	want("8", api.RolloutWithdrawn, api.OutcomeFailed)
}

func many(n int) (rows []string) {
	for i := range n {
		rows = append(rows, fmt.Sprintf("198.18.%d.0/24", i))
	}
	return rows
}

// DELETE of a rollout ends it: before it is published it never is, a candidate goes back, and what is over stays.
func TestEndRollout(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	_, err := r.release.EndRollout(ctx, root, r.newest().ID, "")
	wantCode(t, err, api.CodeConflict)
	_, err = r.release.EndRollout(ctx, root, "77", "")
	wantCode(t, err, api.CodeNotFound)

	r.mustApply("two", api.ApplyOptions{Confirm: time.Hour})
	r.wantRoles("one", "two", "")
	c, err := r.release.EndRollout(ctx, root, r.newest().ID, "no good")
	if err != nil || c.Name != "two" {
		t.Fatalf("%+v, %v", c, err)
	}
	r.wantLine("withdraw done")
	r.wantRoles("one", "", "")
	_, err = r.apply("two", api.ApplyOptions{})
	wantCode(t, err, api.CodeHeld) // it was withdrawn by hand

	r.machine.during = map[string]func(){"Build": func() {
		if ro := r.newest(); ro.State != api.RolloutBuilding {
			t.Errorf("while it is built it is %s", ro.State)
		} else if _, err := r.release.EndRollout(ctx, root, ro.ID, "changed my mind"); err != nil {
			t.Errorf("end what is being built: %v", err)
		}
	}}
	_, err = r.apply("three", api.ApplyOptions{})
	wantCode(t, err, api.CodeCancelled)
	r.machine.during = nil
	if ro := r.newest(); ro.State != api.RolloutWithdrawn {
		t.Errorf("a cancelled rollout is %s", ro.State)
	}
	r.wantRoles("one", "", "")
}

// A candidate keeps its rollout's id over a restart, and ids go on.
func TestRolloutOverARestart(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{Confirm: time.Hour})
	r.restart()
	ro := r.newest()
	if ro.ID != "2" || ro.State != api.RolloutWaiting || ro.Name != "two" || ro.Number != 2 || ro.Deadline.IsZero() {
		t.Errorf("after a restart: %+v", ro)
	}
	_, err := r.release.ConfirmRollout(ctx, root, "1", "")
	wantCode(t, err, api.CodeNotFound)
	if _, err := r.release.ConfirmRollout(ctx, root, "2", ""); err != nil {
		t.Fatal(err)
	}
	r.wantRoles("two", "", "one")
	r.mustApply("three", api.ApplyOptions{})
	if ro := r.newest(); ro.ID != "3" {
		t.Errorf("the next rollout has id %s", ro.ID)
	}
	_, err = r.release.ConfirmRollout(ctx, root, "3", "")
	wantCode(t, err, api.CodeNoCandidate)
}

func TestBundlesInForce(t *testing.T) {
	r := newRig(t)
	if l, err := r.release.Bundles(ctx); err != nil || len(l.Bundles) != 0 {
		t.Errorf("without any: %+v, %v", l, err)
	}
	r.mustApply("one", api.ApplyOptions{})
	l, err := r.release.Bundles(ctx)
	if err != nil || len(l.Bundles) != 1 || l.Bundles[0].Name != "one" || l.Bundles[0].Number != 1 ||
		!l.Bundles[0].Policy || l.Bundles[0].By != "root" {
		t.Errorf("%+v, %v", l, err)
	}
	for name, code := range map[string]string{"one": api.CodeRefused, "none": api.CodeNotFound} {
		_, err := r.release.StartRollout(ctx, root, api.RolloutRequest{Remove: name, Reason: "stale"}, nil)
		wantCode(t, err, code)
		if ro := r.newest(); ro.Kind != api.RolloutRemove || ro.Name != name {
			t.Errorf("%+v", ro)
		}
		_, err = r.release.Plan(ctx, api.PlanRequest{Remove: name}, nil)
		wantCode(t, err, code)
	}
	r.wantRoles("one", "", "")
}

// What is over is forgotten, oldest first; what is not never is.
func TestRolloutsAreBounded(t *testing.T) {
	r := newRig(t)
	r.mustApply("one", api.ApplyOptions{})
	r.mustApply("two", api.ApplyOptions{Confirm: time.Hour})
	for range release.KeptRollouts + 20 {
		_, _ = r.release.StartRollout(ctx, root, api.RolloutRequest{Remove: "none"}, nil)
	}
	all, err := r.release.Rollouts(ctx)
	if err != nil || len(all.Rollouts) > release.KeptRollouts+2 || all.Waiting() == nil || all.Waiting().ID != "2" {
		t.Errorf("%d rollouts, %v, waiting %+v", len(all.Rollouts), err, all.Waiting())
	}
}
