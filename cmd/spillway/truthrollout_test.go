// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
	"github.com/spillway/spillway/userspace/view/viewtest"
)

// rolled is a rollout somewhere on its way; nil is a host without one.
type rolled struct {
	name string
	ro   *api.Rollout
}

// at is the rollout in another stage.
func at(stage string, edit func(*api.Rollout)) *api.Rollout {
	ro := inCanary()
	ro.Staged.Stage, ro.Staged.Step, ro.Staged.Steps, ro.Staged.SharePermille, ro.Staged.Evidence.Arms = stage, 0, 0, 0,
		nil
	ro.Staged.Evidence.Looks = nil
	if edit != nil {
		edit(ro)
	}
	return ro
}

func ways17() []rolled {
	back := "Generation 43 fails: 17 of 124 failing sources are in the canary."
	return []rolled{
		{"nothing rolls out", nil},
		{"queued", at(api.StageQueued, func(ro *api.Rollout) {
			ro.State, ro.Number, ro.Staged.On = api.RolloutQueued, 0, 0
			ro.Staged.Evidence, ro.Staged.Decisions, ro.Staged.Waits, ro.Staged.Estimate = nil, nil, "the rollout that runs", nil
		})},
		{"taste", at(api.StageTaste, func(ro *api.Rollout) {
			ro.Staged.Evidence, ro.Staged.Decisions, ro.Staged.Waits, ro.Staged.Estimate = nil, nil, "", nil
		})},
		{"shadow", at(api.StageShadow, func(ro *api.Rollout) { ro.Staged.Waits = "votes" })},
		{"shadow, paused", at(api.StageShadow, func(ro *api.Rollout) {
			ro.Staged.Paused, ro.Staged.Waits = "lunch",
				"a person paused it"
		})},
		{"shadow, too little traffic", at(api.StageShadow, func(ro *api.Rollout) {
			ro.Staged.Waits, ro.Staged.Estimate = "votes", &api.Estimate{Never: true,
				Sentence: "At your traffic (5000 source prefixes a day) evidence will not suffice, and it will be held."}
		})},
		{"canary", inCanary()},
		{"canary for all, unconfirmed", at(api.StageCanary, func(ro *api.Rollout) {
			ro.Staged.Step, ro.Staged.Steps, ro.Staged.SharePermille = 4, 4, 1000
			ro.Staged.Unconfirmed, ro.Deadline = true, now.Add(5*time.Minute)
		})},
		{"bake", at(api.StageBake, func(ro *api.Rollout) {
			ro.Staged.SharePermille, ro.Staged.Waits = 1000,
				"time with traffic"
		})},
		{"done", ended(api.RolloutDone, api.StageDone, "", "Generation 43 decided for 10m with traffic and is last-known-good.")},
		{"held", heldRollout()},
		{"refused", ended(api.RolloutRefused, api.StageRefused, "protected", "A golden client would be blocked.")},
		{"taken back", ended(api.RolloutTakenBack, api.StageTakenBack, "arms", back)},
		{"withdrawn", ended(api.RolloutWithdrawn, api.StageWithdrawn, "", "ann aborts it: no.")},
	}
}

// hosts17 are the states of a host with an agent that answers.
var hosts17 = []struct {
	name   string
	change func(*view.Reading)
}{
	{"enforce", func(*view.Reading) {}},
	{"observe", func(r *view.Reading) { r.Control.Mode = bpf.ModeObserve }},
	{"bypass", func(r *view.Reading) { r.Bypass = loader.DeadlineForever }},
	{"no bundle", func(r *view.Reading) { r.Control.Stable, r.Generations = 0, nil }},
}

// asks17 are the commands whose words depend on a rollout.
var asks17 = [][]string{{"status"}, {"rollout"}, {"rollout", "status", "17"}, {"rollout", "status", "17", "--follow"},
	{"history"}, {"rollout", "pause", "--reason", "lunch"}, {"rollout", "resume", "--reason", "back"},
	{"rollout", "confirm"}}

// TestF17TrueWordsOfRollouts runs each command in each stage of a rollout, on each host. What is printed is golden, and
// what may be said is derived from the stage.
func TestF17TrueWordsOfRollouts(t *testing.T) {
	var all strings.Builder
	for _, h := range hosts17 {
		for _, w := range ways17() {
			fmt.Fprintf(&all, "======== %s, %s\n", h.name, w.name)
			for _, args := range asks17 {
				if h.name != "enforce" && args[0] != "status" {
					continue // the words of a rollout are the same
				}
				s, command := newShell(t), strings.Join(args, " ")
				r := serving()
				h.change(r)
				code := s.answering(r, w.ro, args)
				text := firstOf(s.stdout)
				if args[0] == "rollout" {
					text = s.stdout
				}
				text += s.stderr
				fmt.Fprintf(&all, "$ spillway %s  [%d]\n%s", command, code, text)
				for _, wrong := range untrueOf(w.ro, command, strings.Join(strings.Fields(text), " "), code) {
					t.Errorf("%s, %s: spillway %s: %s\n%s", h.name, w.name, command, wrong, text)
				}
			}
		}
	}
	golden(t, "truth-rollouts", all.String())
}

// answering runs a command before an agent that has this rollout.
func (s *shell) answering(r *view.Reading, ro *api.Rollout, args []string) int {
	a := startAgent(s)
	st, stages, list := told(r), &api.Stages{}, []*api.Rollout{}
	history := &api.History{Envelope: api.NewEnvelope()}
	if ro != nil {
		list = append(list, ro)
		a.answer("GET /v1/rollouts/17", ro)
		for _, d := range ro.Staged.Decisions {
			history.Entries = append(history.Entries, api.HistoryEntry{At: d.At, User: "spillway", Verb: "rollout",
				Outcome: d.To,
				Number:  43, Decision: &d})
		}
		if !ro.Over() || ro.State == api.RolloutHeld {
			stages.Rollouts = []api.Rollout{*ro}
		}
	}
	for _, verb := range []string{"pause", "resume", "confirm"} {
		a.answer("POST /v1/rollouts/17/"+verb, &api.Change{Envelope: api.NewEnvelope(), Message: "ann says " + verb + "."})
	}
	st.Stages = stages
	a.answer("GET /v1/status", st)
	a.answer("GET /v1/history", history)
	a.answer("GET /v1/rollouts", listOf(&api.Stages{}, list...))
	if ro != nil && !ro.Over() && slices.Contains(args, "--follow") {
		return s.run("rollout", "status", "17") // nobody looks for ever: what it shows is that of TestLiveView
	}
	return s.run(args...)
}

// decidesFor is how a screen says for whom a rollout decides; a sentence about a share of them has a blank.
var decidesFor = regexp.MustCompile(`\d% of the sources`)

// untrueOf lists what a text says of a rollout and its stage does not.
func untrueOf(ro *api.Rollout, command, text string, code int) (wrong []string) {
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if ro == nil {
		if strings.Contains(text, "rollout 17") || strings.Contains(text, "ROLLOUT:") || strings.Contains(text, "HELD:") {
			bad("there is none")
		}
		return wrong
	}
	st := ro.Staged
	if st.SharePermille == 0 && decidesFor.MatchString(text) {
		bad("it decides for nobody")
	}
	if ro.Over() && (strings.Contains(text, "left here") || strings.Contains(text, "waits:") ||
		strings.Contains(text, "until it is done") || strings.Contains(text, "not known")) {
		bad("it is over, and time is left")
	}
	if st.Estimate == nil && (strings.Contains(text, "left here") || strings.Contains(text, " left;")) {
		bad("how long it takes is not known")
	}
	whole := strings.HasPrefix(command, "rollout status")
	for _, d := range st.Decisions {
		if (whole || command == "history") && !strings.Contains(text, d.Sentence) {
			bad("the engine's sentence is not said as it is: %s", d.Sentence)
		}
	}
	if v := st.Verdict; v != nil && whole && !strings.Contains(text, v.Why) {
		bad("the gate's sentence is not said as it is: %s", v.Why)
	}
	if v := st.Verdict; v != nil && whole && strings.Contains(text, "in quarantine") != v.Quarantined {
		bad("quarantine is %t", v.Quarantined)
	}
	if ends := map[string]int{api.RolloutRefused: exitRefused, api.RolloutHeld: exitHeld,
		api.RolloutTakenBack: exitTakenBack,
		api.RolloutWithdrawn: exitWithdrawn}; strings.HasSuffix(command, "--follow") && ro.Over() && code != ends[ro.State] {
		bad("exit code %d", code)
	}
	for _, never := range []string{"is blocked", "are blocked", "will block"} { // the mode says so, a rollout never
		if strings.HasPrefix(command, "rollout") && strings.Contains(text, never) {
			bad("%q is not for a rollout to say", never)
		}
	}
	return wrong
}

// Without an agent, with one that hangs, with one that refuses and on a host without stages, each command says that.
func TestF17RolloutsThatNobodyAnswersFor(t *testing.T) {
	asks := [][]string{{"rollout"}, {"rollout", "status", "17"}, {"rollout", "status", "--follow"},
		{"rollout", "pause", "--reason", "r"}, {"rollout", "pause", "17", "--reason", "r"}, {"freeze", "--reason", "r"},
		{"thaw", "--reason", "r"}, {"rollout", "accept", "17", "--blocks", "2%", "--reason", "r"}}
	forbidden := &api.Error{Status: http.StatusForbidden, Code: api.CodeForbidden, Message: "user ann may not pause",
		Fix: "run it as root, or as a member of the socket's group"}
	direct := &api.Error{Status: http.StatusConflict, Code: api.CodeDirect, Message: api.ErrDirect.Message}
	for _, args := range asks {
		s, command := newShell(t), strings.Join(args, " ")
		s.want(exitNoAgent, args...)
		s.wantErr("no agent answers")
		for _, refusal := range []*api.Error{forbidden, direct} {
			s = newShell(t)
			a := startAgent(s)
			for _, path := range []string{"POST /v1/rollouts/17/pause", "POST /v1/rollouts/17/accept", "POST /v1/freeze",
				"POST /v1/thaw"} {
				a.answer(path, refusal)
			}
			stages := &api.Stages{}
			if refusal == direct {
				stages = nil
			}
			a.answer("GET /v1/rollouts", listOf(stages, inCanary()))
			a.answer("GET /v1/rollouts/17", heldRollout())
			if looks := args[0] == "rollout" && (len(args) == 1 || args[1] == "status"); looks {
				continue // whoever may look, and nothing refuses that
			}
			s.want(exitError, args...)
			s.wantErr(refusal.Message)
			if strings.Contains(s.stdout, "paused") {
				t.Errorf("%s: it was refused, and it says %s", command, s.stdout)
			}
		}
	}
}

// Without an agent status says where a rollout was, and takes from the kernel for whom it decides.
func TestF17RolloutsThatAnAgentLeft(t *testing.T) {
	for name, want := range map[string]string{
		"a canary":                   "ROLLOUT: 17 edge, canary at 5%; stands still",
		"a canary whose lease ended": "ROLLOUT: 17 edge, canary for nobody now; stands still",
		"a canary on an empty host":  "ROLLOUT: 17 edge, canary at 5%; stands still",
		"a canary, bypass":           "ROLLOUT: 17 edge, canary at 5%; stands still",
		"enforce":                    "ROLLOUT: 17 edge, canary for nobody now; stands still",
	} {
		i := slices.IndexFunc(viewtest.Modes, func(m viewtest.Mode) bool { return m.Name == name })
		s, _ := readShell(t, viewtest.Modes[i])
		store, err := state.Open(s.dir+"/state", state.Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = store.Stages().SaveStages(map[string]any{"state": map[string]any{"main": map[string]any{
			"stage": "canary", "step": 1, "number": 8, "change": map[string]any{"id": "17", "name": "edge"}}},
			"stories": []any{map[string]any{"order": map[string]any{"id": "17", "name": "edge"}, "number": 8}}})
		if err != nil {
			t.Fatal(err)
		}
		_ = store.Close()
		s.run("status")
		if !strings.Contains(s.stdout, want+"\n") || strings.Contains(s.stdout, " left") {
			t.Errorf("%s: it lacks %q:\n%s", name, want, s.stdout)
		}
	}
}
