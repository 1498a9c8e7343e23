// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/spillway/spillway/userspace/api"
)

// tableOfCommands are the commands that are about rollouts, with each of their flags. BUNDLE is a bundle's file.
var tableOfCommands = []string{
	"apply BUNDLE --yes", "apply BUNDLE --wait", "apply BUNDLE --no-wait", "apply BUNDLE --stage shadow",
	"apply BUNDLE --accept-blocks 2% --reason r", "apply BUNDLE --replace", "apply BUNDLE --emergency --reason r",
	"apply BUNDLE --confirm 5m", "apply BUNDLE --accept r", "apply --remove edge", "apply --stored 7",
	"apply BUNDLE --dry-run",
	"plan BUNDLE", "plan --remove edge", "confirm --reason r", "cancel 17 --reason r",
	"rollout", "rollout --follow", "rollout status", "rollout status 17", "rollout status 17 --follow",
	"rollout pause --reason r", "rollout resume --reason r", "rollout promote --reason r", "rollout abort --reason r",
	"rollout accept --blocks 2% --reason r", "rollout confirm --reason r",
	"rollout pause 17 --reason r", "rollout resume 17 --reason r", "rollout promote 17 --reason r",
	"rollout abort 17 --reason r", "rollout accept 17 --blocks 2% --reason r", "rollout confirm 17",
	"freeze --reason r", "thaw --reason r", "thaw --quarantine ab --reason r",
	"rollback --reason r", "rollback --to observe", "rollback --bundle edge",
	"bypass on --reason r", "bypass on --for 5m", "bypass off", "bypass on --service web",
	"status", "history --limit 3",
}

// elsewhere are the commands that say nothing of rollouts.
var elsewhere = strings.Fields("detach doctor init run reload config lists verify events fingerprint ban unban bans " +
	"completion version prepare rehearse taste demo exit-codes help")

// tableOfAgents are the modes of an agent, by name. Which stage a rollout is in, and what the host does with
// packets, is the table of TestF17TrueWordsOfRollouts.
var tableOfAgents = []struct {
	name  string
	start func(s *shell)
	// may: the exit codes that are true; must: what one of stdout and stderr says. of is the first word of the command.
	holds func(of, line, text string, code int) string
}{
	{"no agent", func(*shell) {}, func(of, line, text string, code int) string {
		switch {
		case of == "history" && code != exitOK, of == "plan" || of == "apply":
			return "" // the file, and the bundle itself, can be judged without one
		case of != "history" && code != exitNoAgent && code != exitDegraded:
			return fmt.Sprintf("exit code %d", code)
		case strings.Contains(text, "paused") || strings.Contains(text, "is taken"):
			return "something was done"
		}
		return ""
	}},
	{"a stopped agent", hangingAgent, func(of, line, text string, code int) string {
		if of != "history" && (code != exitNoAgent && code != exitDegraded || !strings.Contains(text, "hangs")) {
			return fmt.Sprintf("exit code %d", code)
		}
		return ""
	}},
	{"another user", func(s *shell) {
		startAgent(s).answer(anything, &api.Error{Status: http.StatusForbidden, Code: api.CodeForbidden,
			Message: "user ann may not do that", Fix: "run it as root, or as a member of the socket's group"})
	}, func(of, line, text string, code int) string {
		if code != exitError || !strings.Contains(text, "user ann may not do that") {
			return fmt.Sprintf("exit code %d", code)
		}
		return ""
	}},
	{"direct", func(s *shell) {
		a := startAgent(s)
		a.answer(anything, &api.Error{Status: http.StatusConflict, Code: api.CodeDirect, Message: api.ErrDirect.Message,
			Fix: api.ErrDirect.Fix})
		a.answer("GET /v1/rollouts", listOf(nil))
		done := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Message: "it is done"}
		for _, key := range []string{"POST /v1/rollback", "POST /v1/bypass", "DELETE /v1/rollouts/17"} {
			a.answer(key, done)
		}
		a.answer("POST /v1/plan", &api.Plan{Envelope: api.NewEnvelope(), Name: "edge"})
		a.answer("POST /v1/rollouts", func() any {
			_, body := a.last("POST /v1/rollouts")
			for _, option := range []string{"stage", "acceptBlocks", "replace", "emergency"} {
				if body[option] != nil {
					return a.replies[anything]
				}
			}
			return &api.Rollout{Change: *done, ID: "18", State: api.RolloutDone, Kind: api.RolloutApply}
		})
		a.answer("GET /v1/status", healthy())
		a.answer("GET /v1/history", &api.History{Envelope: api.NewEnvelope()})
	}, func(of, line, text string, code int) string {
		said := strings.Contains(strings.Join(strings.Fields(text), " "), "guards.rollout: direct")
		for _, option := range []string{"--stage", "--accept-blocks", "--replace", "--emergency"} {
			if of == "apply" && strings.Contains(line, option) && (!said || code != exitError) {
				return fmt.Sprintf("%s, exit code %d, and direct is said: %t", option, code, said)
			}
		}
		if looks := line == "rollout" || line == "rollout status"; (of == "rollout" || of == "freeze" || of == "thaw") &&
			(!said || (code == exitOK) != looks) {
			return fmt.Sprintf("exit code %d, and direct is said: %t", code, said)
		}
		return ""
	}},
}

// TestF17EveryCommandBeforeEveryAgent runs each command before each agent. A command, or a flag of one that is about
// rollouts, without a row fails. What is printed is golden.
func TestF17EveryCommandBeforeEveryAgent(t *testing.T) {
	hasRows(t)
	var all strings.Builder
	for _, m := range tableOfAgents {
		fmt.Fprintf(&all, "======== %s\n", m.name)
		out := make([]string, len(tableOfCommands))
		s := newShell(t)
		bundle := s.write("bundle.yaml", soundBundle)
		m.start(s)
		var wg sync.WaitGroup
		for i, line := range tableOfCommands {
			wg.Go(func() { // all at once: beside an agent that hangs each of them waits
				s := *s // its own output
				s.out, s.err = &bytes.Buffer{}, &bytes.Buffer{}
				s.env.stdout, s.env.stderr = s.out, s.err
				code := s.run(strings.Fields(strings.ReplaceAll(line, "BUNDLE", bundle))...)
				text := strings.ReplaceAll(firstOf(s.stdout)+s.stderr, fmt.Sprintf("process %d", os.Getpid()), "process 812")
				out[i] = fmt.Sprintf("$ spillway %s  [%d]\n%s", line, code, text)
				of, _, _ := strings.Cut(line, " ")
				if wrong := m.holds(of, line, text, code); wrong != "" {
					t.Errorf("%s: spillway %s: %s\n%s", m.name, line, wrong, text)
				}
			})
		}
		wg.Wait()
		all.WriteString(strings.Join(out, ""))
	}
	golden(t, "truth-table", all.String())
}

// hasRows looks for a row of each command, and of each flag of those that are about rollouts.
func hasRows(t *testing.T) {
	t.Helper()
	root := (&app{env: newShell(t).env}).newRoot()
	rows := "\n" + strings.Join(tableOfCommands, "\n") + "\n"
	var walk func(c *cobra.Command, path string)
	walk = func(c *cobra.Command, path string) {
		if strings.Contains(" "+strings.Join(elsewhere, " ")+" ", " "+strings.Fields(path)[0]+" ") {
			return
		}
		if c.Runnable() && !strings.Contains(rows, "\n"+path+" ") && !strings.Contains(rows, "\n"+path+"\n") {
			t.Errorf("spillway %s has no row", path)
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			for row := range strings.Lines(rows) {
				if strings.HasPrefix(row, path+" ") && strings.Contains(row, " --"+f.Name) || f.Name == "help" {
					return
				}
			}
			t.Errorf("spillway %s --%s has no row", path, f.Name)
		})
		for _, sub := range c.Commands() {
			walk(sub, path+" "+sub.Name())
		}
	}
	for _, c := range root.Commands() {
		walk(c, c.Name())
	}
}

// The screen of docs/ROLLOUT.md is the one that is printed.
func TestTheScreenOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/ROLLOUT.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newShell(t)
	startAgent(s).answer("GET /v1/rollouts/17", inCanary())
	s.want(exitOK, "rollout", "status", "17")
	if !strings.Contains(string(page), "```\n"+s.stdout+"```\n") {
		t.Errorf("docs/ROLLOUT.md does not have this screen:\n%s", s.stdout)
	}
}
