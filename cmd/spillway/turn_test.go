// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strings"
	"testing"

	"github.com/spillway/spillway/userspace/api"
)

func queued(id string) *api.Rollout {
	return &api.Rollout{ID: id, State: api.RolloutQueued, Kind: api.RolloutApply,
		Change: api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeQueued, Name: "feed",
			Message: "rollout " + id + " waits for its turn: generation 5 (edge) waits for its confirmation"}}
}

// A change that must wait says so, and its command waits with it.
func TestApplyWaitsForItsTurn(t *testing.T) {
	s := newShell(t)
	agent := startAgent(s)
	bundle := s.write("bundle.yaml", "version: 1\nname: feed\n")
	agent.answer("POST /v1/rollouts", queued("7"))
	agent.answer("GET /v1/rollouts/7",
		&api.Rollout{ID: "7", State: api.RolloutDone,
			Change: api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeApplied, Message: "generation 6 is in force",
				Number: 6, Name: "feed"}})
	s.want(exitOK, "apply", bundle, "--yes")
	if out, errs := s.stdout, s.stderr; !strings.Contains(errs, "waits for its turn") ||
		!strings.Contains(errs, "Ctrl-C cancels it") || !strings.Contains(out, "generation 6 is in force") {
		t.Errorf("stdout %q, stderr %q", out, errs)
	}
	s.want(exitOK, "apply", bundle, "--yes", "--no-wait")
	if out, errs := s.stdout, s.stderr; !strings.Contains(out, "waits for its turn") || strings.Contains(errs, "Ctrl-C") {
		t.Errorf("with --no-wait: stdout %q, stderr %q", out, errs)
	}
	agent.answer("GET /v1/rollouts/7",
		&api.Rollout{ID: "7", State: api.RolloutWithdrawn,
			Change: api.Change{Envelope: api.NewEnvelope(), Message: "rollout 8 of ci took its place"}})
	s.want(exitError, "apply", bundle, "--yes")
	if errs := s.stderr; !strings.Contains(errs, "rollout 8 of ci took its place") {
		t.Errorf("stderr %q", errs)
	}
	agent.answer("GET /v1/rollouts/7",
		&api.Rollout{ID: "7", State: api.RolloutHeld,
			Refusal: &api.Error{Code: api.CodeHeld, Message: "a person must accept it"}})
	s.want(exitError, "apply", bundle, "--yes")
}

// What waited goes on in stages, because the host file asks for that now: its command does not wait for the end.
func TestWhatWaitedGoesOnInStages(t *testing.T) {
	s := newShell(t)
	agent := startAgent(s)
	bundle := s.write("bundle.yaml", "version: 1\nname: feed\n")
	agent.answer("POST /v1/rollouts", queued("17"))
	agent.answer("GET /v1/rollouts/17", inCanary())
	s.want(exitOK, "apply", bundle, "--yes")
	s.wantOut("canary 2 of 4")
	s.wantOut("spillway rollout status 17")
}

// Ctrl-C cancels what still waits.
func TestInterruptCancelsWhatWaits(t *testing.T) {
	s := newShell(t)
	agent := startAgent(s)
	agent.answer("GET /v1/rollouts/7", queued("7"))
	agent.answer("DELETE /v1/rollouts/7", &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone})
	agent.answer("POST /v1/rollouts", queued("7"))
	ctx, cancel := context.WithTimeout(context.Background(), 3*turnInterval)
	defer cancel()
	s.ctx = ctx
	s.run("apply", s.write("bundle.yaml", "version: 1\nname: feed\n"), "--yes")
	s.wantErr("rollout 7 is cancelled, and nothing was changed")
	agent.wasAsked(t, "DELETE /v1/rollouts/7")
	agent.answer("GET /v1/rollouts/7", &api.Rollout{ID: "7", State: api.RolloutBuilding})
	c := api.NewClient(s.socket)
	defer c.Close()
	if err := (&app{}).cancelTurn(c, "7"); err == nil || !strings.Contains(err.Error(), "goes on") {
		t.Errorf("what is being built: %v", err)
	}
}

func TestRemoveAndCancel(t *testing.T) {
	s := newShell(t)
	agent := startAgent(s)
	agent.answer("POST /v1/rollouts",
		&api.Rollout{ID: "7", State: api.RolloutDone,
			Change: api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeApplied, Message: "generation 6 is in force"}})
	s.want(exitOK, "apply", "--remove", "feed", "--yes")
	if _, body := agent.wasAsked(t, "POST /v1/rollouts"); body["remove"] != "feed" {
		t.Errorf("asked %v", body)
	}
	agent.answer("POST /v1/plan",
		&api.Plan{Envelope: api.NewEnvelope(), Name: "feed", Changes: true, Removed: 1,
			Rows: []api.PlanRow{{Op: "removed", What: "rule", Name: "a"}}})
	s.want(exitChanges, "plan", "--remove", "feed")
	if out := s.stdout; !strings.Contains(out, "feed is taken out") {
		t.Errorf("%q", out)
	}
	s.want(exitUsage, "apply")
	agent.answer("DELETE /v1/rollouts/7",
		&api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Message: "rollout 7 is cancelled"})
	s.want(exitOK, "cancel", "7")
	agent.answer("POST /v1/rollback",
		&api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeApplied, Message: "generation 9 is in force"})
	s.want(exitOK, "rollback", "--bundle", "feed")
	if _, body := agent.wasAsked(t, "POST /v1/rollback"); body["bundle"] != "feed" {
		t.Errorf("asked %v", body)
	}
}
