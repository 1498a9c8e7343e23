// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"io"
	"strings"

	"github.com/spillway/spillway/userspace/api"
)

// overMost is how many rollouts that are over a screen has.
const overMost = 5

// Rollouts prints what rolls out: what runs and what is held in full, what waits and what is over in a line each.
func Rollouts(w io.Writer, l *api.RolloutList, s Style) {
	if l.Stages == nil {
		fmt.Fprintln(w, wrap("This host puts bundles into force directly (guards.rollout: direct): no rollout has stages.", 0))
	}
	full, lines := 0, []api.Rollout{}
	for i := range l.Rollouts {
		ro := &l.Rollouts[i]
		if ro.Staged == nil || ro.State != api.RolloutRunning && ro.State != api.RolloutWaiting &&
			ro.State != api.RolloutHeld {
			lines = append(lines, *ro)
			continue
		}
		if full++; full > 1 {
			fmt.Fprintln(w)
		}
		Rollout(w, ro, s)
		if ways := ways(ro); ways != "" {
			fmt.Fprintf(w, "%s\n", s.wrap(ways, 0))
		}
	}
	if l.Stages != nil {
		if full == 0 {
			fmt.Fprintln(w, "Nothing rolls out.")
		}
		frozen(w, l.Stages, s)
	}
	s.hang(w, "WHY", func(w io.Writer) { inLines(w, lines, full > 0 || l.Stages == nil) })
	s.hang(w, "WHY", func(w io.Writer) { quarantine(w, l.Stages) })
}

// ways are what a person can do with a rollout.
func ways(ro *api.Rollout) string {
	var verbs []string
	switch {
	case ro.State == api.RolloutHeld:
		verbs = []string{"resume", "accept", "abort"}
	case ro.Staged.Paused != "":
		verbs = []string{"resume", "promote", "abort"}
	case !ro.Over():
		verbs = []string{"pause", "promote", "accept", "abort"}
	default:
		return ""
	}
	return fmt.Sprintf("You can: spillway rollout %s %s --reason WHY (or %s)", verbs[0], ro.ID,
		strings.Join(verbs[1:], ", "))
}

func frozen(w io.Writer, st *api.Stages, s Style) {
	f := st.Frozen
	if f == nil {
		return
	}
	by := ""
	if f.By != "" {
		by = " by " + f.By
	}
	if !f.Since.IsZero() {
		by += " " + s.ago(f.Since)
	}
	if by != "" {
		by = " (frozen" + by + ")"
	}
	fmt.Fprintf(w, "%s %s\n", s.bad("FROZEN:"), s.wrap(fmt.Sprintf(
		"nothing starts by itself%s: %s; to end it: spillway thaw --reason WHY", by, f.Why), 8))
}

// inLines prints rollouts in a table: those that are not over, and the last that are.
func inLines(w io.Writer, all []api.Rollout, below bool) {
	if len(all) == 0 {
		return
	}
	if below {
		fmt.Fprintln(w)
	}
	t := newTable(w, "", "ROLLOUT", "WHAT", "STATE", "WHEN", "BY", "WHY")
	over := 0
	for i := range all {
		ro := &all[i]
		when := ro.Created
		if ro.Over() {
			if over++; over > overMost {
				continue
			}
			when = ro.Ended
		}
		at := ""
		if !when.IsZero() {
			at = when.Local().Format("2006-01-02 15:04")
		}
		t.row(ro.ID, subjectShort(ro), strings.ReplaceAll(ro.State, "_", " "), at, ro.By, whyOf(ro))
	}
	t.end()
}

func subjectShort(ro *api.Rollout) string {
	if ro.Kind == api.RolloutRemove {
		return "- " + ro.Name
	}
	if ro.Digest.IsZero() {
		return ro.Name
	}
	return strings.TrimSpace(ro.Name + " " + ro.Digest.Short())
}

// whyOf is the gate's sentence, or the message.
func whyOf(ro *api.Rollout) string {
	switch {
	case ro.Staged != nil && ro.Staged.Verdict != nil:
		return ro.Staged.Verdict.Why
	case ro.Staged != nil && ro.Staged.Waits != "" && !ro.Over():
		return "waits: " + ro.Staged.Waits
	case ro.Refusal != nil:
		return ro.Refusal.Message
	}
	return ro.Message
}

func quarantine(w io.Writer, st *api.Stages) {
	if st == nil || len(st.Quarantine) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable(w, "", "IN QUARANTINE", "DIGEST", "GATE", "SINCE", "WHY")
	for _, q := range st.Quarantine {
		since := ""
		if !q.Since.IsZero() {
			since = q.Since.Local().Format("2006-01-02 15:04")
		}
		t.row(q.Name, q.Digest.Short(), q.Gate, since, q.Why)
	}
	t.end()
}

// narrow is how wide the lines of a rollout are in status: they fit beside something else.
const narrow = 60

// rollouts are the lines of status: one or two for each that runs or is held, and one for a freeze. Without an agent
// (alone) none goes on.
func rollouts(w io.Writer, st *api.Stages, alone bool, s Style) {
	if st == nil {
		return
	}
	for i := range st.Rollouts {
		ro := &st.Rollouts[i]
		if ro.Staged == nil {
			continue
		}
		word, second := "ROLLOUT:", secondLine(ro)
		if ro.State == api.RolloutHeld {
			word = "HELD:"
		}
		fmt.Fprintf(w, "%s %s\n", s.care(word), cut(fmt.Sprintf("%s %s, %s", ro.ID, ro.Name, firstLine(ro, alone)),
			narrow-len(word)-1))
		if second != "" {
			fmt.Fprintf(w, "  %s\n", cut(second, narrow-2))
		}
	}
	if st.Frozen != nil {
		fmt.Fprintf(w, "%s %s\n", s.bad("FROZEN:"), cut("nothing starts by itself: "+st.Frozen.Why, narrow-8))
	}
}

func firstLine(ro *api.Rollout, alone bool) string {
	st := ro.Staged
	text := st.Where()
	switch {
	case ro.State == api.RolloutHeld && alone:
		return "as the agent left it"
	case ro.State == api.RolloutHeld:
		return "spillway rollout shows why"
	case st.Stage == api.StageCanary && st.SharePermille == 0:
		text = "canary for nobody now"
	case st.Stage == api.StageCanary:
		text = "canary at " + api.Permille(st.SharePermille)
	}
	if alone {
		return text + "; stands still"
	}
	return text + "; " + leftShort(st)
}

func leftShort(st *api.Staged) string {
	e := st.Estimate
	switch {
	case st.Paused != "":
		return "paused"
	case e != nil && e.Never:
		return "it will be held"
	case e != nil && e.TotalSecondsLeft != nil:
		return roughly(*e.TotalSecondsLeft) + " left"
	case e != nil && e.StageSecondsLeft != nil:
		return roughly(*e.StageSecondsLeft) + " left here"
	}
	return "time left not known"
}

func secondLine(ro *api.Rollout) string {
	st := ro.Staged
	switch {
	case st.Verdict != nil:
		return st.Verdict.Why
	case st.Evidence != nil && st.Evidence.Votes > 0:
		return fmt.Sprintf("%s, %d new blocks, %d undeclared", Plural(uint64(st.Evidence.Votes), "vote"),
			st.Evidence.Declared+st.Evidence.Undeclared, st.Evidence.Undeclared)
	case st.Waits != "":
		return "waits: " + st.Waits
	}
	return ""
}

// cut ends a text that is too wide.
func cut(text string, width int) string {
	r := []rune(text)
	if len(r) <= width {
		return text
	}
	return string(r[:width-1]) + "…"
}
