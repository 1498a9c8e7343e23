// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"fmt"
	"strings"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/rollout"
)

// audit writes decisions into the history, with their evidence.
func (st *Stages) audit(decided []rollout.Decision) {
	for _, d := range decided {
		e := st.Ledger.Entry(ledger.Itself(), "rollout", d.Sentence)
		e.Name, e.Digest, e.Outcome = d.Name, d.Digest, outcomeOf(d.To)
		e.Detail = append([]string{fmt.Sprintf("rollout %s: %s to %s, by %s", d.ID, d.From, d.To, d.Gate)}, evidence(d)...)
		st.Ledger.Audit(e)
	}
}

func outcomeOf(to rollout.Stage) string {
	switch to {
	case rollout.StageDone:
		return api.OutcomeDone
	case rollout.StageRefused:
		return api.OutcomeRefused
	case rollout.StageTakenBack:
		return api.OutcomeRolledBack
	case rollout.StageHeld:
		return api.OutcomeHeld
	}
	return to.String()
}

// evidence are the lines that a person checks a decision by.
func evidence(d rollout.Decision) (out []string) {
	if c := d.Counts; c != (rollout.Counts{}) {
		out = append(out,
			fmt.Sprintf("since %s began: %d votes, newly blocked %d declared and %d otherwise, newly passed %d, "+
				"blocked by both %d; %d connections", d.From, c.Pairs, c.Declared, c.Undeclared, c.NewPasses, c.BothBlock,
				c.Connections))
	}
	for _, l := range d.Looks {
		out = append(out, fmt.Sprintf("test %+v", l))
	}
	for _, b := range d.Blame {
		out = append(out, fmt.Sprintf("rule %d `%s` (%s): %d votes", b.Rule, b.What, b.Label, b.Votes))
	}
	if h := d.Hit; h != nil {
		out = append(out, fmt.Sprintf("protected source %s (%s), by rule %d `%s`", h.Who, h.Class, h.Blame.Rule,
			strings.TrimSpace(h.Blame.What)))
	}
	if d.Condemns {
		out = append(out, "the bundle is in quarantine: it comes again only with a reason")
	}
	return out
}
