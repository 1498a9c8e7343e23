// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"io"
	"strings"

	"github.com/spillway/spillway/userspace/api"
)

// Status prints the first screen: whether visitors are protected, by what, since when, and what is wrong.
func Status(w io.Writer, st *api.Status, s Style) {
	switch st.Source {
	case api.SourcePins:
		fmt.Fprintln(w, s.bad("No agent answers.")+" This is read from the pinned maps, which work on without it.")
	case api.SourceCards:
		fmt.Fprintln(w, s.bad("No agent answers, and what runs is not pinned here.")+
			" This is read from what is\nattached to the interfaces.")
	}
	fmt.Fprintln(w, headline(st, s))
	exceptions(w, st, s)
	problems(w, st.Problems, s)
	fmt.Fprintln(w)
	interfaces(w, st)
	generations(w, st, s)
	facts(w, st, s)
	if len(st.Packets) > 0 {
		fmt.Fprintln(w)
		decisions(w, st)
	}
	if len(st.Services) > 0 {
		fmt.Fprintln(w)
		services(w, st)
	}
}

// headline is the one sentence that matters: as it was read, in the colour of what it says.
func headline(st *api.Status, s Style) string {
	word, rest, _ := strings.Cut(st.Says, ":")
	paint := s.bad
	switch st.State {
	case api.StateProtected:
		paint = s.good
	case api.StateObserving:
		paint = s.care
	case api.StateBypassed:
		return s.bad(wrap(st.Says, 0)) + bypassWhy(st.Bypass, s)
	}
	return paint(word+":") + " " + wrap(rest, len(word)+2)
}

// exceptions are what a person set going and must not forget.
func exceptions(w io.Writer, st *api.Status, s Style) {
	for _, v := range st.Services {
		if v.Bypass.Active {
			fmt.Fprintf(w, "%s service %s passes%s%s\n", s.bad("BYPASS:"), v.Name, serviceBypassEnd(v), bypassWhy(v.Bypass, s))
		}
	}
	if c := st.Confirm; c != nil {
		fmt.Fprintf(w, "%s #%d goes back by itself in %s; to keep it: spillway confirm\n",
			s.care("CANDIDATE:"), c.Number, s.until(c.Deadline))
	}
	rollouts(w, st.Stages, st.Source == api.SourcePins, s)
	for _, q := range st.Queue {
		what := q.Name
		if q.Digest.IsZero() {
			what = "taking out " + q.Name
		}
		waits := q.Waits
		if waits == "" {
			waits = "its turn comes"
		}
		fmt.Fprintf(w, "%s %s: %s, by %s %s; %s; to cancel it: spillway cancel %s\n", s.care("WAITS:"), q.ID, what, q.By,
			s.ago(q.Since), waits, q.ID)
	}
}

// leased reports whether the kernel still honours a candidate.
func leased(st *api.Status) bool { return st.LeaseSecondsLeft != nil && *st.LeaseSecondsLeft > 0 }

func bypassEnd(b api.Bypass) string {
	if b.SecondsLeft == nil {
		return ", until `spillway bypass off`"
	}
	return " for " + secondsText(*b.SecondsLeft)
}

// serviceBypassEnd names the service in the command that ends its bypass.
func serviceBypassEnd(v api.Service) string {
	if v.Bypass.SecondsLeft == nil {
		return ", until `spillway bypass off --service " + v.Name + "`"
	}
	return bypassEnd(v.Bypass)
}

func bypassWhy(b api.Bypass, s Style) string {
	var parts []string
	switch b.By {
	case "":
	case api.OutcomeFound:
		parts = append(parts, "found by the agent: who switched it is not known")
	default:
		parts = append(parts, "by "+b.By)
	}
	if !b.Since.IsZero() {
		parts = append(parts, s.ago(b.Since))
	}
	if b.Reason != "" {
		parts = append(parts, fmt.Sprintf("%q", b.Reason))
	}
	if len(parts) == 0 {
		return ""
	}
	return "\n  " + strings.Join(parts, ", ")
}

func problems(w io.Writer, all []api.Problem, s Style) {
	for _, p := range all {
		fmt.Fprintf(w, "%s %s\n", s.bad("!"), wrap(p.Message, 2))
		if p.Fix != "" {
			fmt.Fprintf(w, "  fix: %s\n", wrap(p.Fix, 7))
		}
	}
}

func interfaces(w io.Writer, st *api.Status) {
	t := newTable(w, "", "INTERFACE", "STATE", "XDP", "NOTE")
	for _, i := range st.Interfaces {
		state := i.State
		if state != "attached" {
			state = strings.ToUpper(state)
		}
		note := ""
		if i.ProgramID != 0 {
			note = fmt.Sprintf("program %d", i.ProgramID)
		}
		if i.ResetIsDrop {
			note += ", a reset is a drop here"
		}
		if i.State == api.InterfaceForeign {
			note += ", not the pinned one"
		}
		name := i.Name
		if i.Now != "" {
			name += " (now " + i.Now + ")"
		}
		t.row(name, state, i.Mode, note)
	}
	if len(st.Interfaces) == 0 {
		t.row("", "", "", "none: no traffic is seen")
	}
	t.end()
	fmt.Fprintln(w)
}

func generations(w io.Writer, st *api.Status, s Style) {
	t := newTable(w, "", "GENERATION", "DIGEST", "BUILT", "STATE")
	shown := 0
	for _, role := range []string{"stable", "candidate", "previous"} {
		for _, g := range st.Generations {
			if g.Role == role {
				t.row(strings.TrimSpace(fmt.Sprintf("#%d %s", g.Number, g.Name)), g.Digest.Short(), s.ago(g.Built),
					roleText(st, g, s))
				shown++
			}
		}
	}
	if shown == 0 {
		t.row("none", "", "", "no bundle is applied")
	}
	t.end()
	fmt.Fprintln(w)
}

func roleText(st *api.Status, g api.Generation, s Style) string {
	text := g.Role
	switch g.Role {
	case "stable":
		if st.Bake != nil && st.Bake.Number == g.Number && st.Bake.Waits != "" {
			text += ", bakes once " + st.Bake.Waits
		} else if st.Bake != nil && st.Bake.Number == g.Number {
			text += ", baking for " + s.until(st.Bake.Until)
		} else if st.LastKnownGood != nil && st.LastKnownGood.Digest == g.Digest {
			text += ", last-known-good"
		}
	case "candidate":
		if st.Control != nil && st.Control.CanaryPermille == 0 {
			text += ", decides for nobody"
		} else if st.Control != nil && st.Control.CanaryPermille != 1000 {
			text += fmt.Sprintf(" for %.1f%%", float64(st.Control.CanaryPermille)/10)
		}
		switch {
		case st.Confirm != nil && st.Confirm.Number == g.Number:
			text += ", " + s.until(st.Confirm.Deadline) + " to confirm"
		case st.Control != nil && st.Control.CanaryPermille == 0: // it needs no lease
		case !leased(st):
			text += ", its lease has ended"
		}
	}
	return text
}

func facts(w io.Writer, st *api.Status, s Style) {
	t := newTable(w, "")
	if st.Agent != nil {
		t.row("agent",
			fmt.Sprintf("%s, pid %d, up %s, %s", st.Agent.State, st.Agent.PID,
				Duration(s.Now.Sub(st.Agent.Started)), st.Agent.Version))
	}
	t.row("heartbeat", heartbeat(st))
	if st.LastKnownGood != nil {
		k := st.LastKnownGood
		t.row("last-known-good", strings.TrimSpace(fmt.Sprintf("#%d %s %s", k.Number, k.Name, k.Digest.Short())))
	}
	if len(st.Stored) > 0 {
		var to []string
		for _, k := range st.Stored[:min(len(st.Stored), 5)] {
			to = append(to, strings.TrimSpace(fmt.Sprintf("#%d %s", k.Number, k.Name)))
		}
		if len(st.Stored) > len(to) {
			to = append(to, "…")
		}
		t.row("can go back to", strings.Join(to, ", ")+" (spillway rollback --to NUMBER)")
	}
	if st.MaxMode != "" && st.Mode != "" && st.MaxMode != st.Mode {
		t.row("max_mode", st.MaxMode+" in the host file, the kernel has "+st.Mode)
	}
	policies(t, st)
	bans := Count(st.Bans)
	if st.BanCapacity > 0 {
		bans += " of " + Count(st.BanCapacity)
	}
	t.row("bans", bans)
	if st.Untracked != "" {
		t.row("conntrack", strings.TrimPrefix(st.Untracked, "connection tracking "))
	}
	if st.EventsLost > 0 {
		t.row("events", Count(st.EventsLost)+" lost (rate or ring full); counters are exact")
	}
	if st.LimitsLost > 0 {
		t.row("limits", Plural(int(st.LimitsLost), "connection")+" passed uncharged: others charged beside them")
	}
	if st.LimitsEvicted > 0 {
		t.row("limits", Plural(int(st.LimitsEvicted), "key")+" forgotten early: each has its whole burst again")
	}
	if st.Drift != nil && len(st.Drift.Entries) > 0 {
		t.row("drift", Plural(len(st.Drift.Entries), "difference")+": spillway verify")
	}
	t.end()
}

// factsAt is the column in which facts begin, where last-known-good is one of them.
const factsAt = len("last-known-good") + 2

// policies says from which scores on the policy of each service limits or tags, and what it does beside.
func policies(t *table, st *api.Status) {
	for _, v := range st.Services {
		if v.Policy != nil && (v.Policy.Limit > 0 || v.Policy.Tag > 0) {
			for i, line := range strings.Split(wrap(v.Name+": "+v.Policy.String(), factsAt), "\n") {
				t.row([]string{"policy", " "}[min(i, 1)], strings.TrimLeft(line, " "))
			}
		}
	}
}

func heartbeat(st *api.Status) string {
	text := "never: no agent has lived since the maps were made"
	if st.HeartbeatAgeSeconds != nil {
		text = secondsText(*st.HeartbeatAgeSeconds) + " ago"
	}
	switch {
	case st.AgentTimeoutSeconds == nil:
		return text
	case st.State == api.StateProtected || st.State == api.StatePartly || st.State == api.StateIdle:
		return text + "; everything passes after " + secondsText(*st.AgentTimeoutSeconds) + " of silence"
	}
	return text + "; guards.agent_timeout is " + secondsText(*st.AgentTimeoutSeconds)
}
