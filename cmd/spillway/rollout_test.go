// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
)

func seconds(d time.Duration) *float64 { s := d.Seconds(); return &s }

// inCanary is a rollout in the second step of its canary.
func inCanary() *api.Rollout {
	blame := api.Blame{Rule: 3, ID: "scan", Label: "scanner", Feature: "prefix list own", Votes: 93, Share: 0.06,
		Declared: true}
	return &api.Rollout{
		Change: api.Change{Envelope: api.NewEnvelope(), Message: "canary at 5 %", Name: "edge", Digest: digest(0xb0),
			Number: 43},
		ID: "17", State: api.RolloutRunning, Kind: api.RolloutApply, By: "ann", Reason: "ticket 7",
		Created: now.Add(-time.Hour),
		Staged: &api.Staged{Stage: api.StageCanary, Lane: "main", Track: "bundle", Step: 2, Steps: 4, SharePermille: 50,
			Since: now.Add(-500 * time.Second), On: 42, Waits: "new source prefixes, to compare its failures by",
			Expects: &api.Expects{NewBlocks: 0.06, By: []string{"scanner"}},
			Evidence: &api.Evidence{Connections: 48_210, Votes: 1550, Declared: 93, Undeclared: 2, NewPasses: 12, BothBlock: 310,
				Arms:  &api.Arms{Canary: api.Arm{Sources: 320, Failing: 6}, Control: api.Arm{Sources: 6080, Failing: 118}},
				Looks: []api.Look{{Yes: 6, Of: 124, Side: "below", Bound: 0.0952, Value: 2.1, Limit: 3}},
				Blame: []api.Blame{{Rule: 12, ID: "chrome", Label: "browser", Feature: "ja4 t13d1516h2_8daaf6152771_02713d6af862",
					Votes: 2, Share: 0.00129},
					blame}},
			Estimate: &api.Estimate{StageSecondsLeft: seconds(14 * time.Minute), TotalSecondsLeft: seconds(3 * time.Hour)},
			Decisions: []api.Decision{
				{At: now.Add(-50 * time.Minute), From: api.StageTaste, To: api.StageShadow, Gate: "taste",
					Sentence: "Generation 43 was built and tried."},
				{At: now.Add(-20 * time.Minute), From: api.StageShadow, To: api.StageCanary, Gate: "intent",
					Sentence: "Goes on to 5 % of the sources: of 1500 votes it newly blocked 91 as declared and 1 otherwise."}}},
	}
}

// ended is a rollout that is over.
func ended(state, stage, gate, why string) *api.Rollout {
	ro := inCanary()
	ro.State, ro.Ended, ro.Message = state, now.Add(-time.Minute), why
	ro.Staged.Stage, ro.Staged.Estimate, ro.Staged.Waits, ro.Staged.SharePermille = stage, nil, "", 0
	if gate != "" {
		ro.Staged.Verdict = &api.Verdict{Gate: gate, Why: why, Quarantined: state != api.RolloutHeld}
	}
	return ro
}

const heldWhy = "Rule `chrome: ja4 t13d1516h2_8daaf6152771_02713d6af862` (label browser) would newly block 1.1 % of the sources; it was not declared."

func heldRollout() *api.Rollout { return ended(api.RolloutHeld, api.StageHeld, "intent", heldWhy) }

func listOf(st *api.Stages, all ...*api.Rollout) *api.RolloutList {
	l := &api.RolloutList{Envelope: api.NewEnvelope(), Stages: st}
	for _, ro := range all {
		l.Rollouts = append(l.Rollouts, *ro)
	}
	return l
}

func TestRolloutStatus(t *testing.T) {
	s := newShell(t)
	a := startAgent(s)
	done := ended(api.RolloutDone, api.StageDone, "", "Generation 42 decided for 10m with traffic and is last-known-good.")
	done.ID = "16"
	st := &api.Stages{Frozen: &api.Frozen{Why: "two rollouts were taken back within an hour", Since: now.Add(-time.Hour)},
		Quarantine: []api.Quarantined{{Name: "edge", Digest: digest(7), Gate: "arms",
			Why:   "The canary's sources fail too often.",
			Since: now.Add(-2 * time.Hour)}}}
	a.answer("GET /v1/rollouts", listOf(st, inCanary(), heldRollout(), done))
	s.want(exitOK, "rollout")
	golden(t, "rollout", s.stdout)
	s.want(exitOK, "rollout", "status")
	golden(t, "rollout", s.stdout)
	a.answer("GET /v1/rollouts/17", heldRollout())
	s.want(exitOK, "rollout", "status", "17")
	golden(t, "rollout-held", s.stdout)
	s.want(exitOK, "rollout", "status", "17", "-o", "json")
	var got api.Rollout
	if err := json.Unmarshal([]byte(s.stdout), &got); err != nil || got.Staged.Verdict.Why != heldWhy ||
		len(got.Staged.Decisions) != 2 {
		t.Errorf("in JSON: %v\n%s", err, s.stdout)
	}
	a.answer("GET /v1/rollouts", listOf(&api.Stages{}))
	s.want(exitOK, "rollout")
	s.wantOut("Nothing rolls out.")
	a.answer("GET /v1/rollouts", listOf(nil, queued("7")))
	s.want(exitOK, "rollout")
	s.wantOut("guards.rollout: direct")
	none := newShell(t)
	none.want(exitNoAgent, "rollout")
	none.wantErr("no agent answers")
}

// Each order names the one rollout that it can be about, and says which there are where it cannot know.
func TestOrders(t *testing.T) {
	s := newShell(t)
	a := startAgent(s)
	paused := inCanary()
	paused.ID, paused.Staged.Paused = "18", "lunch"
	a.answer("GET /v1/rollouts", listOf(&api.Stages{}, inCanary()))
	said := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Message: "ann pauses it: lunch."}
	for _, verb := range []string{"pause", "promote", "abort"} {
		path := "POST /v1/rollouts/17/" + verb
		a.answer(path, said)
		s.want(exitOK, "rollout", verb, "--reason", "lunch")
		if _, body := a.wasAsked(t, path); body["reason"] != "lunch" || s.stdout != "ann pauses it: lunch.\n" {
			t.Errorf("%s: body %v, stdout %q", verb, body, s.stdout)
		}
		s.want(exitUsage, "rollout", verb)
		s.wantErr("--reason")
	}
	a.answer("POST /v1/rollouts/17/accept", said)
	s.want(exitOK, "rollout", "accept", "17", "--blocks", "2.5%", "--reason", "a farm")
	if _, body := a.wasAsked(t, "POST /v1/rollouts/17/accept"); body["newBlocks"] != 0.025 {
		t.Errorf("accept: %v", body)
	}
	s.want(exitUsage, "rollout", "accept", "--reason", "r")
	s.want(exitUsage, "rollout", "accept", "--reason", "r", "--blocks", "0.5")
	s.want(exitError, "rollout", "resume", "--reason", "r")
	s.wantErr("there is no rollout to resume")
	s.want(exitError, "rollout", "confirm")
	a.answer("GET /v1/rollouts", listOf(&api.Stages{}, inCanary(), paused))
	s.want(exitUsage, "rollout", "abort", "--reason", "r")
	s.wantErr("say which rollout to abort: 17 (edge, canary 2 of 4, 5% of the sources), 18 (edge")
	a.answer("POST /v1/rollouts/18/resume", said)
	s.want(exitOK, "rollout", "resume", "--reason", "r")
	a.answer("POST /v1/freeze", said)
	s.want(exitOK, "freeze", "--reason", "sale")
	s.want(exitUsage, "freeze")
	a.answer("POST /v1/thaw", said)
	a.answer("GET /v1/rollouts", listOf(&api.Stages{Quarantine: []api.Quarantined{{Name: "edge", Digest: digest(7)}}}))
	s.want(exitOK, "thaw", "--reason", "over", "--quarantine", digest(7).Short())
	if _, body := a.wasAsked(t, "POST /v1/thaw"); body["digest"] != digest(7).String() {
		t.Errorf("thaw: %v", body)
	}
	s.want(exitError, "thaw", "--reason", "over", "--quarantine", "ff")
	a.answer("GET /v1/rollouts", listOf(nil))
	s.want(exitError, "rollout", "pause", "--reason", "r")
	s.wantErr("guards.rollout: direct")
}

// The exit code of --wait tells a pipeline how it ended.
func TestApplyWaitEndsWithWhatBecameOfIt(t *testing.T) {
	for _, c := range []struct {
		ro   *api.Rollout
		code int
		says string
	}{
		{ended(api.RolloutDone, api.StageDone, "", "done"), exitOK, "done"},
		{ended(api.RolloutRefused, api.StageRefused, "protected", "A golden client would be blocked."), exitRefused,
			"refused by protected"},
		{heldRollout(), exitHeld, "held by intent"},
		{ended(api.RolloutTakenBack, api.StageTakenBack, "arms", "The canary's sources fail."), exitTakenBack,
			"taken back by arms"},
		{ended(api.RolloutWithdrawn, api.StageWithdrawn, "", "ann aborts it: no."), exitWithdrawn, "withdrawn"},
	} {
		s := newShell(t)
		a := startAgent(s)
		a.answer("POST /v1/rollouts", inCanary())
		a.answer("GET /v1/rollouts/17", c.ro)
		bundle := s.write("bundle.yaml", soundBundle)
		s.want(c.code, "apply", bundle, "--wait")
		s.wantOut(" rollout 17: edge: canary 2 of 4, 5% of the sources; waits: new source prefixes, " +
			"to compare its failures by; about 14m left here")
		s.wantOut("rollout 17: edge: " + c.says)
		s.want(c.code, "apply", bundle, "--wait", "-o", "json")
		var got api.Rollout
		if err := json.Unmarshal([]byte(s.stdout), &got); err != nil || got.State != c.ro.State {
			t.Errorf("in JSON: %v\n%s", err, s.stdout)
		}
		s.want(exitOK, "apply", bundle)
		s.wantOut("to look at it: spillway rollout status 17 --follow")
	}
}

// Who waits, waits for the agent too: one that ends, hangs in its start, or comes back without a rollout that is over.
func TestApplyWaitOutlivesTheAgent(t *testing.T) {
	unavailable := &api.Error{Status: http.StatusServiceUnavailable, Code: api.CodeUnavailable, Message: "it starts"}
	unknown := &api.Error{Status: http.StatusNotFound, Code: api.CodeNotFound, Message: `there is no rollout "17"`}
	done := ended(api.RolloutDone, api.StageDone, "", "done")
	end := func(to string) *api.History {
		return &api.History{Envelope: api.NewEnvelope(), Entries: []api.HistoryEntry{{Verb: "apply"},
			{Decision: &api.Decision{Rollout: "18", From: api.StageTaste, To: api.StageRefused}},
			{Decision: &api.Decision{Rollout: "17", From: api.StageBake, To: api.StageBake, Gate: "person"}},
			{Decision: &api.Decision{Rollout: "17", From: api.StageBake, To: to, Gate: "arms", Sentence: "What the gate said."}},
			{Decision: &api.Decision{Rollout: "17", From: api.StageTaste, To: api.StageShadow, Gate: "taste"}}}}
	}
	for _, c := range []struct {
		name    string
		looks   inTurn
		history any
		code    int
		says    []string
	}{
		{"it ended", inTurn{killed, killed, done}, nil, exitOK, []string{"rollout 17: edge: done"}},
		{"it starts", inTurn{killed, unavailable, done}, nil, exitOK, []string{"it starts; waiting for it", "edge: done"}},
		{"it ended it before", inTurn{killed, unknown}, end(api.StageTakenBack), exitTakenBack,
			[]string{"taken back by arms: What the gate said."}},
		{"it was held before", inTurn{unknown}, end(api.StageHeld), exitHeld, []string{"held by arms"}},
		{"it was done before", inTurn{unknown}, end(api.StageDone), exitOK, []string{"What the gate said."}},
		{"nobody knows it", inTurn{killed, unknown}, end(api.StageShadow), exitNoAgent,
			[]string{"has no rollout 17 any more: what became of it is not known", "spillway history"}},
	} {
		s := newShell(t)
		a := startAgent(s)
		a.answer("POST /v1/rollouts", inCanary())
		a.answer("GET /v1/rollouts/17", c.looks)
		a.answer("GET /v1/history", c.history)
		s.want(c.code, "apply", s.write("bundle.yaml", soundBundle), "--wait")
		for _, text := range c.says {
			if !strings.Contains(s.stdout+s.stderr, text) {
				t.Errorf("%s: it lacks %q:\n%s%s", c.name, text, s.stdout, s.stderr)
			}
		}
	}
}

// An agent that ends before it answered is waited for by who asked for the end of a rollout, and asked by the key.
func TestApplyWaitAsksAgain(t *testing.T) {
	for _, known := range []bool{true, false} {
		s := newShell(t)
		a := startAgent(s)
		a.answer("POST /v1/rollouts", killed)
		a.answer("GET /v1/rollouts", func() any {
			_, body := a.last("POST /v1/rollouts")
			ro := heldRollout()
			if ro.Key, _ = body["key"].(string); !known {
				ro.Key = "another"
			}
			return listOf(&api.Stages{}, ro)
		})
		a.answer("GET /v1/rollouts/17", heldRollout())
		code, text := exitHeld, "held by intent"
		if !known {
			code, text = exitNoAgent, "the one that runs now has no such rollout"
		}
		s.want(code, "apply", s.write("bundle.yaml", soundBundle), "--wait")
		if all := s.stdout + s.stderr; !strings.Contains(all, text) ||
			!strings.Contains(all, "The agent ended before it answered; waiting for it.") {
			t.Errorf("it lacks %q:\n%s", text, all)
		}
	}
}

// A change that does not begin ends a pipeline with the code of one that a gate ended; without --wait with 1, as ever.
func TestApplyWaitOfWhatDoesNotBegin(t *testing.T) {
	for _, c := range []struct {
		refusal *api.Error
		code    int
	}{
		{&api.Error{Status: http.StatusUnprocessableEntity, Code: api.CodeRefused, Message: "it is in quarantine"},
			exitRefused},
		{&api.Error{Status: http.StatusConflict, Code: api.CodeHeld, Message: "the bundle is held"}, exitHeld},
		{&api.Error{Status: http.StatusConflict, Code: api.CodeCancelled, Message: "it came to nothing"}, exitWithdrawn},
		{&api.Error{Status: http.StatusConflict, Code: api.CodeBusy, Message: "another change runs"}, exitError},
	} {
		for _, wait := range []bool{true, false} {
			s := newShell(t)
			startAgent(s).answer("POST /v1/rollouts", c.refusal)
			line, code := []string{"apply", s.write("bundle.yaml", soundBundle)}, exitError
			if wait {
				line, code = append(line, "--wait"), c.code
			}
			s.want(code, line...)
			s.wantErr(c.refusal.Message)
			s.want(code, append(line, "-o", "json")...)
			s.wantOut(`"code": "` + c.refusal.Code + `"`)
		}
	}
}

// What the agent says about a rollout that it takes up is told, beside it.
func TestApplyTellsTheDetailsOfARollout(t *testing.T) {
	s := newShell(t)
	ro := inCanary()
	ro.Details = []string{"rollout 17 brings this very bundle already", "list \x1b[2J is empty"}
	startAgent(s).answer("POST /v1/rollouts", ro)
	s.want(exitOK, "apply", s.write("bundle.yaml", soundBundle))
	s.wantErr("note: rollout 17 brings this very bundle already\n")
	if strings.Contains(s.stderr, "\x1b") {
		t.Errorf("%q", s.stderr)
	}
}

// Options of stages arrive; a host without them refuses them, and nothing is done.
func TestApplyOptionsOfStages(t *testing.T) {
	s := newShell(t)
	a := startAgent(s)
	bundle := s.write("bundle.yaml", soundBundle)
	a.answer("POST /v1/rollouts", inCanary())
	s.want(exitOK, "apply", bundle, "--stage", "shadow", "--accept-blocks", "2%", "--replace", "--reason", "r",
		"--confirm", "5m")
	_, body := a.wasAsked(t, "POST /v1/rollouts")
	if body["stage"] != "shadow" || body["acceptBlocks"] != 0.02 || body["replace"] != true ||
		body["confirmSeconds"] != 300.0 {
		t.Errorf("asked %v", body)
	}
	s.want(exitOK, "apply", bundle, "--emergency", "--reason", "attack")
	a.answer("POST /v1/rollouts", &api.Error{Status: http.StatusConflict, Code: api.CodeDirect,
		Message: api.ErrDirect.Message})
	s.want(exitError, "apply", bundle, "--emergency", "--reason", "attack")
	s.wantErr("guards.rollout: direct")
	for _, line := range []string{"--emergency", "--stage canary", "--wait --no-wait", "--accept-blocks 2%",
		"--accept-blocks 2",
		"--emergency --reason r --stage shadow"} {
		s.want(exitUsage, append([]string{"apply", bundle}, strings.Fields(line)...)...)
	}
}

// Where nobody looks, apply answers once a change was tried: with where it is then, with what refused it, or that it is
// in force.
func TestApplyWaitsUntilItWasTried(t *testing.T) {
	s := newShell(t)
	a := startAgent(s)
	bundle := s.write("bundle.yaml", "version: 1\nname: edge\n")
	tasting := inCanary()
	tasting.Staged.Stage, tasting.Staged.SharePermille, tasting.Details = api.StageTaste, 0, []string{"it goes in stages"}
	a.answer("POST /v1/rollouts", tasting)
	for _, row := range []struct {
		now  *api.Rollout
		code int
		says string
	}{
		{inCanary(), exitOK, "canary 2 of 4"},
		{ended(api.RolloutDone, api.StageDone, "bake", "Generation 43 lets more pass."), exitOK, "43 lets more pass."},
		{ended(api.RolloutRefused, api.StageRefused, "protected", "Golden client shop would be blocked."), exitRefused,
			"Golden client shop"},
	} {
		a.answer("GET /v1/rollouts/17", row.now)
		s.want(row.code, "apply", bundle, "--yes")
		s.wantOut(row.says)
		s.wantErr("note: it goes in stages")
	}
	s.want(exitOK, "apply", bundle, "--yes", "--no-wait")
	s.wantOut("taste")
}
