// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
)

const soundBundle = `version: 1
name: edge
rules:
  - {id: bad-net, label: denied-network, score: 100}
features:
  prefixes:
    - {list: own, rule: bad-net, entries: [198.51.100.0/24]}
policy:
  default: {drop: 80}
`

func samplePlan() *api.Plan {
	return &api.Plan{
		Envelope: api.NewEnvelope(), Digest: digest(0xb0), Name: "edge", Changes: true, Added: 1202, Removed: 1, Changed: 2,
		Against: &api.Known{Digest: digest(0xa0), Name: "edge", Number: 12},
		Rows: []api.PlanRow{
			{Op: "added", What: "rule", Name: "scanner-syn", To: "label scanner, score 90"},
			{Op: "changed", What: "rule", Name: "bad-net", From: "score 60", To: "score 100"},
			{Op: "added", What: "prefix", List: "own", Name: "2001:db8:bad::/48", To: "bad-net"},
			{Op: "removed", What: "tcp", Name: "1024:2:1460:", From: "scanner-syn"},
			{Op: "changed", What: "policy", Name: "default", From: "drop never", To: "drop 80"},
		},
		Holds: []api.Hold{
			{Code: "growth", Text: "list own grows from 12 to 1213 rows, 10008.3%; guards.max_change is 30%"}},
		Notes: []string{
			"on eth0 a reset is enforced as a drop: no answer of a program leaves it (spillway doctor says why)"},
		OmittedProtected: 2, OmittedReserved: 14,
		Lists: []config.ListCounts{{List: "daily", Rows: 1204, Prefixes: 1200, Duplicates: 4, Reserved: 14}},
	}
}

func TestPlan(t *testing.T) {
	s := newShell(t)
	bundle := s.write("bundle.yaml", soundBundle)
	a := startAgent(s)
	a.answer("POST /v1/plan", samplePlan())
	s.want(exitChanges, "plan", bundle)
	golden(t, "plan", s.stdout)

	same := samplePlan()
	same.Changes, same.Rows, same.Holds, same.Added, same.Removed, same.Changed = false, nil, nil, 0, 0, 0
	a.answer("POST /v1/plan", same)
	s.want(exitOK, "plan", bundle)
	s.wantOut("No changes.")
	s.want(exitOK, "apply", "--dry-run", bundle)
	a.answer("POST /v1/plan", samplePlan())
	s.want(exitChanges, "apply", "--dry-run", bundle)
	s.want(exitChanges, "plan", bundle, "-o", "json")
	var got api.Plan
	if err := json.Unmarshal([]byte(s.stdout), &got); err != nil || got.Added != 1202 {
		t.Errorf("plan in JSON: %v, %+v", err, got)
	}
	for _, asked := range a.asked {
		if asked != "POST /v1/plan" {
			t.Errorf("a plan or dry run asked for %s", asked)
		}
	}
}

// A refusal prints the faults exactly as config prints them, whoever found them.
func TestRefusalPrintsTheFaultsAsConfigDoes(t *testing.T) {
	broken := strings.Replace(soundBundle, "entries: [198.51.100.0/24]",
		"entries: [198.51.100.0/24, 198.51.100.0/24, 0.0.0.0/0]", 1)
	s := newShell(t)
	path := s.write("bundle.yaml", broken)
	_, refused := config.LoadBundle(path, nil, config.BundleOptions{})
	if refused == nil {
		t.Fatal("the broken bundle was accepted")
	}
	want := strings.ReplaceAll(refused.Error(), s.dir, "DIR") + "\n"

	s.want(exitError, "plan", path) // without an agent: found on this side
	if !strings.HasPrefix(s.stderr, want) {
		t.Errorf("without an agent stderr is\n%swant\n%s", s.stderr, want)
	}
	a := startAgent(s)
	a.answer("POST /v1/rollouts", api.Refuse("the bundle is refused; nothing was changed", refused))
	s.want(exitError, "apply", path)
	if !strings.HasPrefix(s.stderr, want) {
		t.Errorf("from the agent stderr is\n%swant\n%s", s.stderr, want)
	}
	s.wantErr("nothing was changed")
	s.want(exitError, "apply", path, "-o", "json")
	var reply struct{ Error *api.Error }
	if err := json.Unmarshal([]byte(s.stdout), &reply); err != nil || reply.Error == nil || reply.Error.Faults.Total != 2 {
		t.Errorf("refusal in JSON: %v\n%s", err, s.stdout)
	}
}

func TestApply(t *testing.T) {
	s := newShell(t)
	bundle := s.write("bundle.yaml", soundBundle)
	a := startAgent(s)
	a.answer("POST /v1/rollouts",
		&api.Rollout{ID: "7", State: api.RolloutWaiting,
			Change: api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeCandidate,
				Message: "bundle edge decides for all traffic",
				Name:    "edge", Number: 13, Digest: digest(0xb0), Deadline: now.Add(5 * time.Minute)}})
	s.want(exitOK, "apply", bundle, "--confirm", "5m", "--accept", "new feed", "--reason", "ticket 7")
	golden(t, "apply-confirm", s.stdout)
	query, body := a.wasAsked(t, "POST /v1/rollouts")
	delete(body, "key") // random
	if len(query) != 0 ||
		!equalJSON(t, map[string]any{"name": bundle, "confirmSeconds": 300.0, "accept": "new feed", "reason": "ticket 7"},
			body) {
		t.Errorf("the agent was asked %v, %v", query, body)
	}
	a.answer("POST /v1/rollouts",
		&api.Error{Status: http.StatusConflict, Code: api.CodeHeld,
			Message: "the bundle is held for a person; nothing was changed",
			Fix:     "apply it again with --accept and a reason", Holds: samplePlan().Holds})
	s.want(exitError, "apply", bundle)
	golden(t, "apply-held", s.stderr)
}

// At a terminal the plan is shown and a person is asked; no answer is a no.
func TestApplyAsksAtATerminal(t *testing.T) {
	for answer, applied := range map[string]bool{"y\n": true, "YES\n": true, "n\n": false, "\n": false,
		"": false, "yeah\n": false} {
		s := newShell(t)
		bundle := s.write("bundle.yaml", soundBundle)
		a := startAgent(s)
		plan := samplePlan()
		plan.Holds = nil
		a.answer("POST /v1/plan", plan)
		a.answer("POST /v1/rollouts",
			&api.Rollout{Change: api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeApplied, Message: "applied"}})
		s.env.stdinTTY, s.env.stdoutTTY, s.env.stdin = true, true, strings.NewReader(answer)
		s.vars["NO_COLOR"] = "1"
		want := exitError
		if applied {
			want = exitOK
		}
		s.want(want, "apply", bundle)
		s.wantErr("Put it into force? [y/N]")
		if got := a.asked[len(a.asked)-1] == "POST /v1/rollouts"; got != applied {
			t.Errorf("answer %q: applied %t", answer, got)
		}
	}
}

// What the plan said is not said again after the question; what is new is.
func TestApplySaysNothingTwice(t *testing.T) {
	s := newShell(t)
	a := startAgent(s)
	plan, ro := samplePlan(), inCanary()
	plan.Holds, plan.Notes = nil, []string{"it goes in stages"}
	ro.Details = []string{"it goes in stages", "rollout 17 brings this very bundle already"}
	a.answer("POST /v1/plan", plan)
	a.answer("POST /v1/rollouts", ro)
	s.env.stdinTTY, s.env.stdoutTTY, s.env.stdin = true, true, strings.NewReader("y\n")
	s.vars["NO_COLOR"] = "1"
	s.want(exitOK, "apply", s.write("bundle.yaml", soundBundle), "--no-wait")
	if n := strings.Count(s.stdout+s.stderr, "it goes in stages"); n != 1 {
		t.Errorf("said %d times:\n%s%s", n, s.stdout, s.stderr)
	}
	s.wantErr("note: rollout 17 brings this very bundle already\n")
}

func TestChangesReachTheAgent(t *testing.T) {
	done := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Message: "done"}
	cases := []struct {
		args []string
		ask  string
		body map[string]any
	}{
		{[]string{"bypass", "on", "--service", "web", "--for", "30m", "--reason", "r"}, "POST /v1/bypass",
			map[string]any{"on": true, "service": "web", "forSeconds": 1800.0, "reason": "r"}},
		{[]string{"bypass", "off"}, "POST /v1/bypass", map[string]any{"on": false}},
		{[]string{"rollback", "--reason", "r"}, "POST /v1/rollback", map[string]any{"reason": "r"}},
		{[]string{"confirm"}, "POST /v1/rollouts/7/confirm", map[string]any{}},
		{[]string{"reload"}, "POST /v1/reload", map[string]any{}},
		{[]string{"ban", "203.0.113.7", "--for", "2h"}, "POST /v1/bans",
			map[string]any{"prefix": "203.0.113.7", "forSeconds": 7200.0}},
		{[]string{"ban", "2001:db8::1"}, "POST /v1/bans", map[string]any{"prefix": "2001:db8::1", "forSeconds": 3600.0}},
		{[]string{"unban", "203.0.113.7"}, "DELETE /v1/bans/203.0.113.7", map[string]any{}},
	}
	for _, c := range cases {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			s := newShell(t)
			a := startAgent(s)
			a.answer(c.ask, done)
			a.answer("GET /v1/rollouts", &api.RolloutList{Rollouts: []api.Rollout{{ID: "7", State: api.RolloutWaiting}}})
			s.want(exitOK, c.args...)
			s.wantOut("done")
			_, body := a.wasAsked(t, c.ask)
			if c.body != nil && !equalJSON(t, c.body, body) {
				t.Errorf("asked with %v, want %v", body, c.body)
			}
			// Without an agent and without pins there is nobody to do it.
			s = newShell(t)
			s.want(exitNoAgent, c.args...)
			s.wantErr("systemctl start spillway")
		})
	}
}

func equalJSON(t *testing.T, a, b any) bool {
	t.Helper()
	x, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(x) == string(y)
}

func TestLists(t *testing.T) {
	s := newShell(t)
	a := startAgent(s)
	a.answer("GET /v1/bans", &api.BanList{Envelope: api.NewEnvelope(), Capacity: 1024, Bans: []api.Ban{
		{Prefix: "203.0.113.7/32", Expires: now.Add(42 * time.Minute), By: "root", Reason: "login guessing"},
		{Prefix: "2001:db8:1:2::/64", Expires: now.Add(23 * time.Hour)},
	}})
	s.want(exitOK, "bans")
	golden(t, "bans", s.stdout)

	a.answer("GET /v1/history", &api.History{Envelope: api.NewEnvelope(), Skipped: 1, Entries: []api.HistoryEntry{
		{At: now.Add(-time.Minute), User: "root", Verb: "rollback", Outcome: api.OutcomeDone, Digest: digest(0xa0),
			Number: 12, Reason: "shop lost orders"},
		{At: now.Add(-time.Hour), User: "agent", Verb: "confirm", Outcome: api.OutcomeRolledBack, Digest: digest(0xb0),
			Number: 13, Detail: []string{"nobody confirmed in time"}},
		{At: now.Add(-2 * time.Hour), User: "ci", Verb: "apply", Outcome: api.OutcomeRefused,
			Detail: []string{"bundle.yaml:8:3: duplicate prefix"}},
	}})
	s.want(exitOK, "history", "-n", "3")
	golden(t, "history", s.stdout)
	if query, _ := a.wasAsked(t, "GET /v1/history"); query.Get("limit") != "3" {
		t.Errorf("limit is %q, want 3", query.Get("limit"))
	}

	v := &api.Verification{Envelope: api.NewEnvelope(), OK: true, Checked: now}
	a.answer("GET /v1/verify", v)
	s.want(exitOK, "verify")
	s.wantOut("holds what it should")
	v.OK, v.Entries = false,
		[]api.DriftEntry{{Where: "prefixes4, slot 2, 198.51.100.0/24", Want: "rule 3", Got: "nothing"}}
	s.want(exitDegraded, "verify")
	golden(t, "verify-drift", s.stdout)
}

func TestEvents(t *testing.T) {
	score := 90
	s := newShell(t)
	a := startAgent(s)
	a.answer("GET /v1/events", []api.Event{
		{Envelope: api.NewEnvelope(), Sequence: 1, Time: now, Source: "203.0.113.7", SourcePort: 40112, Service: "web",
			Reason:  "tcp_fingerprint",
			Verdict: "drop", Score: &score, Rule: "scanner-syn", MuonFP: "1024:2:1460:"},
		{Envelope: api.NewEnvelope(), Sequence: 2, Time: now, Source: "2001:db8::7", SourcePort: 9, Service: "web",
			Reason: "no_match", Verdict: "pass"},
		{Envelope: api.NewEnvelope(), Sequence: 3, Time: now, Source: "203.0.113.8", SourcePort: 40113, Service: "web",
			Reason: "ja4", Verdict: "reset", Score: &score, Rule: "library",
			MuonFP: "64240:2-4-8-1-3:1460:7", P0F: "4:54+10:0:1460:mss*44,7:mss,sok,ts,nop,ws:df,id+:0",
			JA4: "t13d1812h1_85036bcba153_d41ae481755e", StableJA4: "t13d1810h1_85036bcba153_c9e58cc61e36"},
		{Envelope: api.NewEnvelope(), Sequence: 4, Time: now, Source: "203.0.113.9", SourcePort: 40114, Service: "web",
			Reason: "no_match", Verdict: "pass",
			JA4: "t13d1516h2_8daaf6152771_02713d6af862", StableJA4: "t13d1516h2_8daaf6152771_02713d6af862"},
	})
	s.want(exitOK, "events")
	golden(t, "events", s.stdout)
	s.want(exitOK, "events", "-o", "json", "--follow", "-n", "5")
	if n := strings.Count(s.stdout, "\n"); n != 4 {
		t.Errorf("%d lines of JSON, want 4:\n%s", n, s.stdout)
	}
	if query, _ := a.wasAsked(t, "GET /v1/events"); query.Get("recent") != "5" || query.Get("follow") != "true" {
		t.Errorf("asked with %v", query)
	}
}

// An error of the agent reaches a person with its way out, and its exit code is 1, not "no agent".
func TestRefusalOfTheAgent(t *testing.T) {
	s := newShell(t)
	a := startAgent(s)
	a.answer("POST /v1/bans",
		&api.Error{Status: http.StatusUnprocessableEntity, Code: api.CodeProtected,
			Message: "203.0.113.7 is protected: office", Fix: "take it off the allowlist first"})
	s.want(exitError, "ban", "203.0.113.7")
	if s.stderr != "spillway: 203.0.113.7 is protected: office\n  fix: take it off the allowlist first\n" {
		t.Errorf("stderr is %q", s.stderr)
	}
}

// At a terminal a reload asks about what can newly block; elsewhere, and with --yes, it does not.
func TestReloadAsksAtATerminal(t *testing.T) {
	s := newShell(t)
	a := startAgent(s)
	held := &api.Error{Status: 409, Code: api.CodeHeld, Message: "held",
		Holds: []api.Hold{{Code: "host", Text: "max_mode enforce: what is only counted now is blocked"}}}
	a.answer("POST /v1/reload", held)
	s.env.stdinTTY, s.env.stdoutTTY, s.env.stdin = true, true, strings.NewReader("n\n")
	s.want(exitError, "reload")
	s.wantErr("max_mode enforce")
	s.wantErr("nothing was changed")
	if _, body := a.wasAsked(t, "POST /v1/reload"); body["ask"] != true {
		t.Errorf("the agent was sent %v", body)
	}
	a.answer("POST /v1/reload",
		&api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Message: "the host file is in force"})
	s.want(exitOK, "reload", "--yes")
	if _, body := a.wasAsked(t, "POST /v1/reload"); body["ask"] != nil {
		t.Errorf("with --yes the agent was sent %v", body)
	}
}

// An agent that ends in the middle of a change is not an EOF to a person.
func TestAgentThatEndsBeforeItAnswers(t *testing.T) {
	s := newShell(t)
	a := startAgent(s)
	bundle := s.write("bundle.yaml", soundBundle)
	for key, args := range map[string][]string{"POST /v1/rollouts": {"apply", bundle, "--yes"},
		"POST /v1/rollback": {"rollback"}, "POST /v1/bans": {"ban", "198.51.100.7"}} {
		a.answer(key, killed)
		s.want(exitNoAgent, args...)
		s.wantErr("the agent ended before it answered")
		s.wantErr("spillway status")
		if strings.Contains(s.stderr, "EOF") {
			t.Errorf("%v: stderr %q", args, s.stderr)
		}
	}
}

// Ctrl-C is no error of the program.
func TestInterruptedCommand(t *testing.T) {
	s := newShell(t)
	startAgent(s)
	ctx, stop := context.WithCancel(context.Background())
	stop()
	s.ctx = ctx
	s.want(exitError, "status")
	s.wantErr("spillway: interrupted")
	if strings.Contains(s.stderr, "context canceled") {
		t.Errorf("stderr %q", s.stderr)
	}
}
