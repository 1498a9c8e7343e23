// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var plant = flag.Bool("faults", false,
	"plant each fault of the table into the engine, and run the tests that must find it")

// planted is a fault: a piece of a file, which stands there once, and what it becomes.
type planted struct {
	name     string
	file     string
	old, new string
	finds    string // the tests that must fail, as for -run
}

// faults are what a tired engineer could do to the engine. Each is found by a test or by the simulation.
var faults = []planted{
	{"the gate of the protected is left out", "harm.go",
		"j.hit, j.trip, j.gone,", "j.trip, j.gone,", "TestOneProtectedSource|TestFastTrack"},
	{"a protected source that can be forged counts", "harm.go",
		"if !h.Confirmed {", "if false {", "TestSpoofedFlood"},
	{"a person is heard before harm", "step.go",
		"\tt.pass(now)\n", "\tt.pass(now)\n\tfor _, c := range e.Commands {\n\t\tt.command(c)\n\t}\n\te.Commands = nil\n",
		"TestOneProtectedSource"},
	{"alpha is not spent: each look rejects at even odds", "sequential/rate.go",
		"return l.LnE >= l.Limit", "return l.LnE >= 0.7", "TestSimulation"},
	{"a test does not begin with its stage", "run.go",
		"r.Base, r.Split.Base, r.Waits = r.Tally.total(), r.Split.Last, \"\"", "r.Waits = \"\"", "TestSimulation"},
	{"the canary skips a step", "progress.go",
		"return StageCanary, r.Step + 1", "return StageCanary, r.Step + 2", "TestSimulation"},
	{"shadow does not wait for votes", "progress.go",
		"case !shown && !judgeOf(t).timeOnly(r):", "case !shown && false:",
		"TestSmallSite|TestPeople|TestHourlyFeed|TestShadowWaits"},
	{"a bake counts without traffic", "step.go",
		"!r.Seen || r.Times.Quiet >= idleAfter {", "!r.Seen {", "TestBakeWithoutTraffic"},
	{"time counts while another decides", "step.go",
		"decided := k.Deciding && t.s.Decided", "decided := true", "TestTimeCounts"},
	{"a lapse condemns", "harm.go",
		"return j.turn.decide(r, StageHeld, GateLease,",
		"return j.turn.decide(r, StageTakenBack, GateLease,", "TestLapseIsHeld"},
	{"all that is newly blocked counts as declared", "counts.go",
		"if intent.names(b.Label) {", "if true {", "TestOneRealBrowser|TestSimulation"},
	{"evidence of another generation counts", "counts.go",
		"if v.Generation != t.Generation || v.Generation == 0 {", "if v.Generation == 0 {", "TestOtherGenerations"},
	{"a rebase loses the evidence", "counts.go",
		"return Tally{Generation: generation, Before: t.total()}", "return Tally{Generation: generation}", "TestListUpdate"},
	{"a generation on another base is taken", "taste.go",
		"if k.Known && taste.Base == k.Stable && taste.Number != 0 {", "if taste.Number != 0 {", "TestBuiltOnAnotherBase"},
	{"an action that failed is not repeated", "carry.go",
		"\tt.s.Undo = without(t.s.Undo, func(u Undo) bool {\n",
		"\tdefer func() { t.s.Undo = nil }()\n\tt.s.Undo = without(t.s.Undo, func(u Undo) bool {\n",
		"TestSimulation"},
	{"a queue that others share is written", "queue.go",
		"slices.Delete(slices.Clone(t.s.Queue), i, i+1)", "slices.Delete(t.s.Queue, i, i+1)", "TestStepIsPure"},
	{"an attack that grows ends its own defence", "harm.go",
		"if r.Stage != StageShadow || c.Declared == 0 ||", "if c.Declared == 0 ||", "TestBotnetCannotVeto"},
	{"no data is health", "progress.go",
		"(!j.turn.e.Health.Known || j.turn.e.Health.Bad)", "j.turn.e.Health.Bad", "TestHealth"},
	{"sources of another share count", "step.go",
		"r.Split.Base = r.Split.Last // these", "_ = r // these", "TestShareThatComesLate"},
	{"a candidate that is nobody's stays", "carry.go",
		"\tt.orphan(k.Candidate, &t.s.Main)\n", "", "TestCrowds"},
	{"a person lets two generations bake at once", "command.go",
		"case t.isFast(r) && t.s.Main.Stage == StageBake:", "case false:", "TestOneGenerationBakes"},
	{"a relaxation is not joined before harm", "step.go",
		"\tt.relaxed(&t.s.Fast)\n", "\tdefer t.relaxed(&t.s.Fast)\n", "TestRelaxationJoins|TestCrowds"},
	{"the clock may go back", "step.go",
		"t.real = max(now-t.s.Now, 0)", "t.real = now - t.s.Now", "TestClockThatBeginsAnew|TestSimulation"},
	{"what baked when an emergency came stays", "step.go",
		"\t\t\tdefer unstand(t, over)\n", "", "TestWhatStood"},
	{"a budget that is used up while a rollout waits is not heard", "step.go",
		"\tspent(t)\n", "", "TestWhatStood"},
}

// Each fault stands where the table says; with -faults each is planted, and must be found.
func TestPlantedFaultsAreFound(t *testing.T) {
	for _, f := range faults {
		text, err := os.ReadFile(f.file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), f.old); n != 1 {
			t.Errorf("%s: %q stands %d times in %s, and should once: mend the table", f.name, f.old, n, f.file)
			continue
		}
		if !*plant {
			continue
		}
		dir := t.TempDir()
		write := func(name string, content []byte) string {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		here, err := filepath.Abs(f.file)
		if err != nil {
			t.Fatal(err)
		}
		faulty := write("faulty.go", []byte(strings.Replace(string(text), f.old, f.new, 1)))
		overlay, err := json.Marshal(map[string]map[string]string{"Replace": {here: faulty}})
		if err != nil {
			t.Fatal(err)
		}
		test := exec.Command("go", "test", "-count=1", "-vet=off", "-overlay", write("overlay.json", overlay),
			"-run", f.finds, ".", "-short", "-rollouts", "800")
		out, err := test.CombinedOutput()
		switch {
		case err == nil:
			t.Errorf("%s: nothing found it", f.name)
		case !strings.Contains(string(out), "--- FAIL"):
			t.Errorf("%s: it could not be planted:\n%s", f.name, out)
		default:
			t.Logf("%s: found by %s", f.name, failed(string(out)))
		}
	}
}

// failed names the tests that failed.
func failed(out string) string {
	var names []string
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(line, "--- FAIL: "); ok {
			name, _, _ = strings.Cut(name, " ")
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
