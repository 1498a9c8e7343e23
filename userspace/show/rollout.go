// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spillway/spillway/userspace/api"
)

// Rollout prints where a rollout stands, what it was judged by, and which gates decided so far. What the engine says of
// it is printed as it says it.
func Rollout(w io.Writer, ro *api.Rollout, s Style) {
	fmt.Fprintf(w, "%s %s\n", s.bold("rollout "+ro.ID+":"), s.wrap(subject(ro), len(ro.ID)+10))
	if ro.By+ro.Reason != "" {
		fmt.Fprintf(w, "  asked for by %s\n", s.wrap(asked(ro), 15))
	}
	st := ro.Staged
	if st == nil {
		fmt.Fprintln(w, s.wrap(strings.TrimSpace(ro.State+" "+ro.Message), 0))
		return
	}
	stageLine(w, ro, s)
	if v := st.Verdict; v != nil {
		fmt.Fprintf(w, "  %s %s\n", s.bad(v.Gate+":"), s.wrap(v.Why, len(v.Gate)+4))
		if v.Quarantined {
			fmt.Fprintln(w, "  in quarantine: this bundle comes again only with a reason")
		}
	}
	if e := st.Evidence; e != nil && st.Stage != api.StageTaste && st.Stage != api.StageQueued {
		evidence(w, st, e, s)
	}
	if e := st.Estimate; e != nil && e.Sentence != "" && !ro.Over() {
		fmt.Fprintf(w, "\n%s\n", s.wrap(e.Sentence, 0))
	}
	if len(st.Decisions) > 0 {
		fmt.Fprintln(w)
		decided(w, st.Decisions, s)
	}
}

// subject names what a rollout changes.
func subject(ro *api.Rollout) string {
	what := strings.TrimSpace(ro.Name)
	if !ro.Digest.IsZero() {
		what = strings.TrimSpace(what + " " + ro.Digest.Short())
	}
	if ro.Kind == api.RolloutRemove {
		what = "taking out " + ro.Name
	}
	if ro.Number != 0 {
		what += fmt.Sprintf(", generation #%d", ro.Number)
	}
	if ro.Staged != nil && ro.Staged.On != 0 {
		what += fmt.Sprintf(" compared with #%d", ro.Staged.On)
	}
	return what
}

// asked is who asked for a rollout, and why.
func asked(ro *api.Rollout) string {
	text := ro.By
	if text == "" {
		text = "somebody"
	}
	if ro.Reason != "" {
		text += ": " + ro.Reason
	}
	return text
}

// stageLine is the stage, how long it lasts, how long it still takes, and what it waits for.
func stageLine(w io.Writer, ro *api.Rollout, s Style) {
	st := ro.Staged
	fmt.Fprint(w, stagePaint(st, s)(st.Where()))
	switch {
	case ro.Over():
		if !ro.Ended.IsZero() {
			fmt.Fprintf(w, ", %s", s.ago(ro.Ended))
		}
	case !st.Since.IsZero() && s.Now.Sub(st.Since) >= time.Second:
		fmt.Fprintf(w, ", for %s", Duration(max(s.Now.Sub(st.Since), 0).Truncate(time.Second)))
	}
	fmt.Fprintln(w)
	if !ro.Over() {
		fmt.Fprintf(w, "  %s\n", left(st))
	}
	if st.Paused != "" {
		fmt.Fprintf(w, "  %s %s\n", s.care("paused:"), s.wrap(st.Paused, 10))
	}
	if st.Waits != "" && !ro.Over() {
		fmt.Fprintf(w, "  waits: %s\n", s.wrap(st.Waits, 9))
	}
	if st.Unconfirmed && !ro.Over() {
		goes := "goes back by itself unless it is confirmed"
		if !ro.Deadline.IsZero() {
			goes = "goes back by itself in " + s.until(ro.Deadline) + " unless it is confirmed"
		}
		fmt.Fprintf(w, "  %s: spillway rollout confirm %s\n", goes, ro.ID)
	}
}

func stagePaint(st *api.Staged, s Style) func(string) string {
	switch st.Stage {
	case api.StageDone:
		return s.good
	case api.StageRefused, api.StageTakenBack:
		return s.bad
	case api.StageHeld:
		return s.care
	}
	return s.bold
}

// left is the time that is left at this traffic. Where it is not known, that is said.
func left(st *api.Staged) string {
	e := st.Estimate
	switch {
	case st.Paused != "":
		return "it is paused"
	case e != nil && e.Never:
		return "at this traffic it will be held"
	case e == nil || e.StageSecondsLeft == nil && e.TotalSecondsLeft == nil:
		return "how long it takes is not known"
	case e.StageSecondsLeft == nil:
		return roughly(*e.TotalSecondsLeft) + " until it is done"
	case e.TotalSecondsLeft == nil:
		return roughly(*e.StageSecondsLeft) + " left here"
	}
	return fmt.Sprintf("%s left here, %s until it is done", roughly(*e.StageSecondsLeft),
		strings.TrimPrefix(roughly(*e.TotalSecondsLeft), "about "))
}

// roughly prints seconds without more precision than an estimate has: about 14m, or moments.
func roughly(seconds float64) string {
	const most = 365 * 24 * time.Hour
	d := time.Duration(min(max(seconds, 0), most.Seconds()) * float64(time.Second))
	switch {
	case d >= 10*time.Hour:
		d = d.Round(time.Hour)
	case d >= 10*time.Minute:
		d = d.Round(time.Minute)
	case d >= time.Minute:
		d = d.Round(10 * time.Second)
	case d < 2*time.Second:
		return "moments"
	default:
		d = d.Round(time.Second)
	}
	return "about " + Duration(d)
}

// Percent writes a share: three digits are enough.
func Percent(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) }

// part writes a part of the votes in percent; "" where there are none.
func part(n, of int64) string {
	if of <= 0 {
		return ""
	}
	return Percent(float64(n) / float64(of))
}

// evidence prints the votes, the arms, the rules and the protected source. They are pairs of verdicts: whether anybody
// is blocked for them is the stage's and the mode's to say.
func evidence(w io.Writer, st *api.Staged, e *api.Evidence, s Style) {
	fmt.Fprintln(w)
	t := newTable(w, "  ")
	t.row("votes", Count(uint64(max(e.Votes, 0))), fmt.Sprintf("of %s", Plural(uint64(max(e.Connections, 0)),
		"connection")))
	row := func(name string, n int64, note string) {
		t.row(name, Count(uint64(max(n, 0))), strings.TrimSpace(part(n, e.Votes)+" "+note))
	}
	row("new blocks, declared", e.Declared, declares(st.Expects))
	row("new blocks, undeclared", e.Undeclared, "")
	row("new passes", e.NewPasses, "")
	row("both block", e.BothBlock, "")
	if a := e.Arms; a != nil {
		arm := func(name string, a api.Arm) {
			t.row(name, Count(uint64(max(a.Sources, 0))), strings.TrimSpace(Plural(uint64(max(a.Failing, 0)), "source")+
				" failing "+part(a.Failing, a.Sources)))
		}
		arm("sources in the canary", a.Canary)
		arm("sources outside", a.Control)
	}
	if e.Unconfirmed > 0 {
		t.row("unconfirmed", Count(uint64(e.Unconfirmed)), "can be forged, and counts for nothing")
	}
	if e.Lost > 0 {
		t.row("lost", Count(uint64(e.Lost)), "votes for which the kernel had no room")
	}
	t.end()
	if h := e.Hit; h != nil {
		note := ""
		if !h.Confirmed {
			note = "; it can be forged, and counts for nothing"
		}
		text := fmt.Sprintf("%s %s, %s%s", h.Class, h.Who, ruleOf(h.Blame), note)
		fmt.Fprintf(w, "  %s %s\n", s.bad("protected:"), s.wrap(text, 13))
	}
	blamed(w, e.Blame)
	for _, l := range e.Looks {
		tested(w, l)
	}
}

// tested prints a test: what it can show, by what, and how far it is.
func tested(w io.Writer, l api.Look) {
	word := "not yet shown"
	if l.Shown {
		word = "shown"
	}
	fmt.Fprintf(w, "  test: %s %s %s by %s of %s (%.2f of %.2f)\n", l.Side, Percent(l.Bound), word,
		Count(uint64(max(l.Yes, 0))), Count(uint64(max(l.Of, 0))), l.Value, l.Limit)
}

// declares is what a rollout says that it will newly block.
func declares(x *api.Expects) string {
	switch {
	case x == nil || x.NewBlocks == 0:
		return "(it declares none)"
	case x.Accepted:
		return "(" + Percent(x.NewBlocks) + " accepted by a person)"
	case len(x.By) == 0:
		return "(it declares " + Percent(x.NewBlocks) + ")"
	}
	return "(it declares " + Percent(x.NewBlocks) + ", by " + strings.Join(x.By, ", ") + ")"
}

// blamed prints what changes by rule.
func blamed(w io.Writer, all []api.Blame) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable(w, "  ", "RULE", "LABEL", "NEW BLOCKS IN ALL", "SHARE", "DECLARED", "FEATURE")
	for _, b := range all {
		declared := "no"
		if b.Declared {
			declared = "yes"
		}
		t.row(b.ID, b.Label, Plural(uint64(max(b.Votes, 0)), "vote"), Percent(b.Share), declared, b.Feature)
	}
	t.end()
}

// ruleOf names a rule as its bundle does, with what it matches.
func ruleOf(b api.Blame) string {
	if b.ID == "" {
		return b.Feature
	}
	return strings.TrimSuffix("rule "+b.ID+": "+b.Feature, ": ")
}

// RolloutLine says in one line where a rollout stands.
func RolloutLine(ro *api.Rollout) string {
	st := ro.Staged
	text := fmt.Sprintf("rollout %s: %s: %s", ro.ID, ro.Name, st.Where())
	if v := st.Verdict; v != nil {
		text += " by " + v.Gate + ": " + v.Why
		if v.Quarantined {
			text += " It is in quarantine."
		}
	}
	if ro.Over() {
		return text
	}
	if st.Paused != "" {
		return text + "; paused: " + st.Paused
	}
	if st.Waits != "" {
		text += "; waits: " + st.Waits
	}
	return text + "; " + left(st)
}

// decidedMost is how many decisions a screen has; JSON and the history have all of them.
const decidedMost = 6

// decided prints the gates' decisions, the newest last.
func decided(w io.Writer, all []api.Decision, s Style) {
	for _, d := range all[max(len(all)-decidedMost, 0):] {
		Decision(w, d, s)
	}
}

// Decision prints one decision: when, by which gate, and its sentence.
func Decision(w io.Writer, d api.Decision, s Style) {
	head := d.At.Local().Format("15:04:05") + " " + d.Gate + ": "
	fmt.Fprintf(w, "%s%s\n", head, s.wrap(d.Sentence, len(head)))
}

// Evidence says in a few words by what a decision was taken.
func Evidence(e *api.Evidence) string {
	if e == nil || e.Votes <= 0 {
		return ""
	}
	text := fmt.Sprintf("%s: %d new blocks as declared, %d undeclared", Plural(uint64(e.Votes), "vote"), e.Declared,
		e.Undeclared)
	if a := e.Arms; a != nil && a.Canary.Sources+a.Control.Sources > 0 {
		text += fmt.Sprintf("; failing %d of %d in the canary, %d of %d outside", a.Canary.Failing, a.Canary.Sources,
			a.Control.Failing, a.Control.Sources)
	}
	return text
}
