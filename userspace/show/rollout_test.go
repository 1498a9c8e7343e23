// SPDX-License-Identifier: Apache-2.0

package show

import (
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/api"
)

// What is not known is said to be unknown; nothing is more exact than an estimate.
func TestTimeThatIsLeft(t *testing.T) {
	f := func(d time.Duration) *float64 { s := d.Seconds(); return &s }
	huge := 1e300
	for want, st := range map[string]api.Staged{
		"how long it takes is not known":  {},
		"how long it takes is not known ": {Estimate: &api.Estimate{}},
		"it is paused": {Paused: "lunch",
			Estimate: &api.Estimate{StageSecondsLeft: f(time.Hour)}},
		"at this traffic it will be held": {Estimate: &api.Estimate{Never: true,
			TotalSecondsLeft: f(time.Hour)}},
		"about 1h left here":         {Estimate: &api.Estimate{StageSecondsLeft: f(time.Hour + 7*time.Second)}},
		"about 14h until it is done": {Estimate: &api.Estimate{TotalSecondsLeft: f(14*time.Hour + 20*time.Minute)}},
		"about 40s left here, 1m 20s until it is done": {Estimate: &api.Estimate{StageSecondsLeft: f(40 * time.Second),
			TotalSecondsLeft: f(78 * time.Second)}},
		"about 365d left here": {Estimate: &api.Estimate{StageSecondsLeft: &huge}},
	} {
		if got := left(&st); got != strings.TrimSpace(want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// The lines of status are narrow, whatever a bundle is called and a person wrote; those of a screen fit a terminal.
func TestRolloutsAreNarrow(t *testing.T) {
	long := strings.Repeat("a very long text of somebody ", 9)
	ro := api.Rollout{ID: "1234", State: api.RolloutRunning, Change: api.Change{Name: strings.Repeat("n", 90),
		Number: 43}, Reason: long,
		Staged: &api.Staged{Stage: api.StageCanary, Step: 2, Steps: 4, SharePermille: 50, Waits: long, Paused: long, On: 42,
			Verdict: &api.Verdict{Gate: "intent", Why: long}, Evidence: &api.Evidence{Votes: 1, Undeclared: 1},
			Decisions: []api.Decision{{Gate: "intent", Sentence: long}}}}
	held := ro
	held.State = api.RolloutHeld
	var out strings.Builder
	rollouts(&out, &api.Stages{Rollouts: []api.Rollout{ro, held}, Frozen: &api.Frozen{Why: long}}, false, Style{})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 5 {
		t.Errorf("%d lines:\n%s", len(lines), out.String())
	}
	for _, l := range lines {
		if n := len([]rune(l)); n > narrow {
			t.Errorf("%d columns: %s", n, l)
		}
	}
	out.Reset()
	ro.Name = "edge"
	Rollout(&out, &ro, Style{})
	for l := range strings.Lines(out.String()) {
		if n := len([]rune(strings.TrimSuffix(l, "\n"))); n > 80 {
			t.Errorf("%d columns: %s", n, l)
		}
	}
}

// A decision is shown with the engine's own words, and what it was taken by.
func TestDecisionsInHistory(t *testing.T) {
	var out strings.Builder
	History(&out, &api.History{Entries: []api.HistoryEntry{{User: "spillway", Verb: "rollout", Outcome: "held",
		Reason: "not this",
		Decision: &api.Decision{Gate: "intent", Sentence: "Rule `own` would newly block 1.1 %.",
			Evidence: &api.Evidence{Votes: 1550, Undeclared: 17}}}}}, Style{})
	if want := "intent: Rule `own` would newly block 1.1 %. (1,550 votes: 0 new blocks as declared, 17 undeclared)"; !strings.Contains(out.String(), want) {
		t.Errorf("lacks %q:\n%s", want, out.String())
	}
}

// On a narrow terminal sentences break, and none is lost: a row of a table hangs under its last column or its row.
func TestSentencesBreakAtTheTerminal(t *testing.T) {
	why := "Rule `own: prefix list own` (label scanner) would newly block 5.06 % of the sources; it was not declared."
	ro := api.Rollout{ID: "17", State: api.RolloutHeld, Staged: &api.Staged{Stage: api.StageHeld,
		Verdict:   &api.Verdict{Gate: "intent", Why: why},
		Decisions: []api.Decision{{Gate: "intent", Sentence: why}}}}
	over := ro
	over.State = api.RolloutWithdrawn
	list := &api.RolloutList{Rollouts: []api.Rollout{ro, over},
		Stages: &api.Stages{Quarantine: []api.Quarantined{{Name: "edge", Gate: "intent", Why: why}}}}
	history := &api.History{Entries: []api.HistoryEntry{{User: "spillway", Verb: "rollout", Outcome: "held", Reason: why}}}
	for _, width := range []int{40, 60, 80, 132} {
		var out strings.Builder
		Rollouts(&out, list, Style{Width: width})
		History(&out, history, Style{Width: width})
		for l := range strings.Lines(out.String()) {
			if n := len([]rune(strings.TrimSuffix(l, "\n"))); n > width && strings.HasPrefix(l, " ") {
				t.Errorf("%d columns of %d: %s", n, width, l)
			}
		}
		_, below, _ := strings.Cut(out.String(), "\nROLLOUT ")
		head, row, _ := strings.Cut("ROLLOUT "+below, "\n")
		row, _, _ = strings.Cut(row, "\n")
		if at := strings.Index(row, "Rule"); at >= 0 && at != strings.Index(head, "WHY") || width == 132 && at < 0 {
			t.Errorf("%d columns: the row does not stand under its heading:\n%s\n%s", width, head, row)
		}
		if n := strings.Count(strings.Join(strings.Fields(out.String()), " "), why); n != 5 {
			t.Errorf("%d columns: the sentence is there %d times:\n%s", width, n, out.String())
		}
	}
}

// What is left is never 0s.
func TestNoTimeIsLeft(t *testing.T) {
	for seconds, want := range map[float64]string{0: "moments left here", 1.2: "moments left here",
		12: "about 12s left here", 840: "about 14m left here"} {
		if got := left(&api.Staged{Estimate: &api.Estimate{StageSecondsLeft: &seconds}}); got != want {
			t.Errorf("%v s: %s, want %s", seconds, got, want)
		}
	}
	if got := (Style{}).until(time.Time{}); got != "moments" {
		t.Errorf("until now: %s", got)
	}
}
