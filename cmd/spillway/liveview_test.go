// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strconv"
	"strings"
	"testing"
)

// At a terminal the screen is drawn again in its place; Ctrl-C leaves the rollout running and says how to look again.
func TestLiveView(t *testing.T) {
	s := newShell(t)
	a := startAgent(s)
	a.answer("POST /v1/rollouts", inCanary())
	a.answer("GET /v1/rollouts/17", inCanary())
	s.env.stdoutTTY, s.vars["NO_COLOR"] = true, "1"
	s.env.size = func() (int, int) { return 70, 30 }
	bundle := s.write("bundle.yaml", soundBundle)
	ctx, cancel := context.WithTimeout(context.Background(), 4*turnInterval)
	defer cancel()
	s.ctx = ctx
	s.want(exitOK, "apply", bundle)
	for _, text := range []string{"Rollout 17 goes on.", "To look again: spillway rollout status 17 --follow",
		"spillway rollout abort 17"} {
		s.wantErr(text)
	}
	first, again, redrawn := strings.Cut(s.stdout, "\x1b[")
	if !redrawn || !strings.Contains(again, "Ctrl-C leaves it running") || !strings.Contains(first, "canary 2 of 4") {
		t.Fatalf("the screen is not drawn again:\n%q", s.stdout)
	}
	rows := strings.Count(first, "\n")
	if !strings.HasPrefix(again, strings.TrimSpace(strings.Split(again, "A")[0])+"A\r\x1b[J") || !strings.HasPrefix(again,
		strconv.Itoa(rows)+"A") {
		t.Errorf("%d rows are drawn, and the cursor goes up by %.12q", rows, again)
	}
	for l := range strings.Lines(first) {
		if n := len([]rune(l)) - 1; n > 70 {
			t.Errorf("%d columns: %s", n, l)
		}
	}
	golden(t, "rollout-live", first)
	ctx, cancel = context.WithTimeout(context.Background(), 2*turnInterval)
	defer cancel()
	s.ctx = ctx
	s.want(exitError, "apply", bundle, "--wait")
	for _, asked := range a.asked {
		if strings.HasPrefix(asked, "DELETE") || strings.HasSuffix(asked, "/abort") {
			t.Errorf("Ctrl-C ended it: %s", asked)
		}
	}
}

// What a rollout carries cannot move the cursor of whoever looks at it.
func TestLiveViewIsSafe(t *testing.T) {
	s := newShell(t)
	a := startAgent(s)
	ro := heldRollout()
	ro.Staged.Verdict.Why, ro.Reason, ro.Name = "\x1b[2J gone", "\x1b[9A", "e\x1b]0;x\a"
	ro.Staged.Evidence.Blame[0].Feature = "\x1b[31mred\r"
	ro.Staged.Decisions[0].Sentence = "a\x1b[2Jb"
	a.answer("GET /v1/rollouts/17", ro)
	for _, tty := range []bool{false, true} {
		s.env.stdoutTTY = tty
		for _, args := range [][]string{{"rollout", "status", "17"}, {"rollout", "status", "17", "--follow"}} {
			s.run(args...)
			if text := ownColour.ReplaceAllString(s.stdout+s.stderr, ""); strings.ContainsAny(text, "\x1b\a\r") {
				t.Errorf("%v: %q", args, text)
			}
		}
	}
}
