// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/show"
)

// liveView shows a rollout while it goes on: at a terminal one screen that is drawn again, else a line each time that
// its stage, what it waits for, or a gate's decision is another.
type liveView struct {
	a       *app
	redraws bool
	rows    int // of the screen that is drawn
	told    string
	decided int // decisions that were told
}

func (a *app) newLiveView() *liveView {
	return &liveView{a: a, redraws: a.stdoutTTY && a.getenv("TERM") != "dumb"}
}

func (v *liveView) show(ro *api.Rollout) {
	if v.a.format == formatJSON {
		return
	}
	show.Clean(ro)
	if v.redraws {
		v.draw(ro)
		return
	}
	if ro.Staged == nil {
		return
	}
	for _, d := range ro.Staged.Decisions[min(v.decided, len(ro.Staged.Decisions)):] {
		if why := ro.Staged.Verdict; why == nil || why.Why != d.Sentence { // which the line of its end says
			show.Decision(v.a.stdout, d, v.a.style())
		}
	}
	v.decided = len(ro.Staged.Decisions)
	s := ro.Staged
	if key := fmt.Sprint(ro.State, s.Stage, s.Step, s.SharePermille, s.Paused, s.Waits, ro.Number); key != v.told {
		v.told = key
		fmt.Fprintf(v.a.stdout, "%s %s\n", v.a.now().Local().Format("15:04:05"), show.RolloutLine(ro))
	}
}

// draw puts a screen in the place of the one before. What it moves the cursor with is its own: nothing that came from
// outside can.
func (v *liveView) draw(ro *api.Rollout) {
	var screen bytes.Buffer
	show.Rollout(&screen, ro, v.a.style())
	if !ro.Over() {
		fmt.Fprintf(&screen, "\nCtrl-C leaves it running; to look again:\n  %s\n", lookAgain(ro.ID))
	}
	lines := strings.Split(strings.TrimSuffix(screen.String(), "\n"), "\n")
	columns, rows := v.a.screen()
	if over := len(lines) - (rows - 1); over > 0 && !ro.Over() {
		lines = append(lines[:rows-2:rows-2], "… a taller terminal shows more; so does: spillway rollout status "+ro.ID)
	}
	for i, l := range lines {
		if plain := []rune(ownColour.ReplaceAllString(l, "")); len(plain) > columns {
			lines[i] = string(plain[:columns-1]) + "…"
		}
	}
	if v.rows > 0 {
		v.a.moveCursor(fmt.Sprintf("\x1b[%dA\r\x1b[J", v.rows))
	}
	v.rows = len(lines)
	fmt.Fprintln(v.a.stdout, strings.Join(lines, "\n"))
}

// moveCursor writes to the terminal itself, past what keeps others from it.
func (a *app) moveCursor(sequence string) {
	if p, ok := a.stdout.(*plainWriter); ok {
		_, _ = io.WriteString(p.to, sequence)
	}
}

// screen is the size of the terminal, with room for something.
func (a *app) screen() (columns, rows int) {
	columns, rows = 80, 24
	if a.size != nil {
		if c, r := a.size(); c > 0 && r > 0 {
			columns, rows = c, r
		}
	}
	return max(columns, 20), max(rows, 6)
}

func lookAgain(id string) string { return "spillway rollout status " + id + " --follow" }

// follow shows a rollout until it is over. An agent that starts again meanwhile still has it.
func (a *app) follow(c *api.Client, ro *api.Rollout) (*api.Rollout, error) {
	ctx := a.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	c.Alive = nil // the view shows that it lives
	view, alone := a.newLiveView(), absence{}
	for view.show(ro); !ro.Over(); {
		err := c.FollowRollout(ctx, ro.ID, func(now *api.Rollout) error {
			if a.format == formatJSON && a.lines {
				_ = writeLine(a.stdout, now)
			}
			ro, alone = now, absence{}
			view.show(ro)
			return nil
		})
		if a.interrupted() || ro.Over() {
			return ro, nil
		}
		if isUnknown(err) {
			if ro, err = a.endedMeanwhile(ctx, c, ro); err == nil {
				view.rows = 0
				view.show(ro)
				return ro, nil
			}
		}
		if err != nil && !alone.is(err) {
			return ro, err
		}
		if alone.tell(a.stderr, standsStill) {
			view.rows = 0
		}
		select {
		case <-ctx.Done():
		case <-time.After(turnInterval):
		}
	}
	return ro, nil
}

// What it means that no agent answers, with stages and without.
const (
	standsStill = "Without it no stage goes on, and a canary goes back by itself."
	keepsQueue  = "It has what waits on disk."
)

// absence is that of an agent which does not answer, or not yet.
type absence struct{ says, told string }

// is reports whether an error is none of the rollout: who waits, waits for the agent too.
func (n *absence) is(err error) bool {
	var hung *api.Hung
	var refusal *api.Error
	switch {
	case errors.Is(err, api.ErrUnreachable):
		n.says = "No agent answers"
	case errors.Is(err, api.ErrLost): // the next look says more
	case errors.As(err, &hung):
		n.says = "The agent hangs"
		if hung.PID != 0 {
			n.says = fmt.Sprintf("The agent (process %d) hangs", hung.PID)
		}
	case errors.As(err, &refusal) && (refusal.Code == api.CodeUnavailable || refusal.Code == api.CodeOverloaded):
		n.says = "The agent cannot say: " + api.Visible(refusal.Message)
	default:
		return false
	}
	return true
}

// tell says it, once.
func (n *absence) tell(w io.Writer, means string) bool {
	if n.says == n.told {
		return false
	}
	n.told = n.says
	fmt.Fprintf(w, "%s; waiting for it. %s\n", n.says, means)
	return true
}

// isUnknown reports whether an agent does not have a rollout.
func isUnknown(err error) bool {
	var refusal *api.Error
	return errors.As(err, &refusal) && refusal.Code == api.CodeNotFound
}

// endedMeanwhile finds the end of a rollout that the agent does not have any more, because it started again since: the
// history has each decision.
func (a *app) endedMeanwhile(ctx context.Context, c *api.Client, ro *api.Rollout) (*api.Rollout, error) {
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	h, err := c.History(short, 0)
	if err != nil {
		return ro, err
	}
	for _, e := range h.Entries { // the newest first
		d := e.Decision
		if d == nil || d.Rollout != ro.ID || d.From == d.To {
			continue
		}
		if state, over := ends[d.To]; over {
			return endedBy(ro, d, state), nil
		}
		break
	}
	return ro, &exitCode{exitNoAgent, fmt.Errorf("the agent started again and has no rollout %s any more: what became of it is"+
		" not known\n  fix: spillway history shows what happened", ro.ID)}
}

// ends are the states of a rollout that is over, by the stage that its last decision names.
var ends = map[string]string{api.StageDone: api.RolloutDone, api.StageRefused: api.RolloutRefused,
	api.StageHeld: api.RolloutHeld, api.StageTakenBack: api.RolloutTakenBack, api.StageWithdrawn: api.RolloutWithdrawn}

// endedBy is a rollout after the decision that ended it.
func endedBy(ro *api.Rollout, d *api.Decision, state string) *api.Rollout {
	over, staged := *ro, *ro.Staged
	over.State, over.Ended, over.Message, over.Staged = state, d.At, d.Sentence, &staged
	staged.Stage, staged.Estimate, staged.Waits, staged.Paused, staged.SharePermille = d.To, nil, "", "", 0
	staged.Decisions = append(staged.Decisions[:len(staged.Decisions):len(staged.Decisions)], *d)
	if state != api.RolloutDone && state != api.RolloutWithdrawn {
		staged.Verdict, staged.Evidence = &api.Verdict{Gate: d.Gate, Why: d.Sentence, Quarantined: d.Quarantined}, d.Evidence
	}
	return &over
}

// followed shows a rollout until it is over, or until somebody looks away, and ends with what became of it. Where
// wait is asked, looking away is an end too.
func (a *app) followed(c *api.Client, ro *api.Rollout, wait bool) error {
	ro, err := a.follow(c, ro)
	if err != nil {
		return err
	}
	if !ro.Over() { // interrupted
		fmt.Fprintf(a.stderr, "Rollout %s goes on. To look again: %s\nTo end it: spillway rollout abort %s --reason WHY\n", ro.ID,
			lookAgain(ro.ID), ro.ID)
		if wait {
			return with(exitError)
		}
		return nil
	}
	if a.format == formatJSON && !a.lines {
		if err := writeJSON(a.stdout, ro); err != nil {
			return err
		}
	}
	return endOf(ro)
}

// endOf is the exit code of a rollout that is over.
func endOf(ro *api.Rollout) error {
	switch ro.State {
	case api.RolloutDone:
		return nil
	case api.RolloutRefused:
		return with(exitRefused)
	case api.RolloutHeld:
		return with(exitHeld)
	case api.RolloutTakenBack:
		return with(exitTakenBack)
	case api.RolloutWithdrawn:
		return with(exitWithdrawn)
	}
	if ro.Refusal != nil {
		return ro.Refusal
	}
	return fmt.Errorf("rollout %s came to nothing: %s", ro.ID, ro.Message)
}
