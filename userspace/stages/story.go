// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/rollout/sequential"
)

// story is what became of one rollout: its order, and the decisions about it.
type story struct {
	Order     release.Order  `json:"order"`
	Since     time.Time      `json:"since"` // of its stage or step
	Number    uint32         `json:"number"`
	On        uint32         `json:"on"`
	Decisions []api.Decision `json:"decisions"`
	Track     string         `json:"track"`
}

// mostDecisions bounds a story: who pauses and resumes for days makes no large file.
const mostDecisions = 40

// tell adds decisions to their stories, and writes them into the history with their evidence.
func (st *Stages) tell(decided []rollout.Decision, before, now rollout.State, seen rollout.Evidence) {
	at := st.Ledger.Now().UTC()
	for _, d := range decided {
		st.told.count(d)
		number, intent := uint32(0), rollout.Intent{}
		for _, r := range []rollout.Run{before.Main, before.Fast, now.Main, now.Fast} {
			if r.Change.ID == d.ID && r.Number != 0 {
				number, intent = r.Number, r.Intent(now.Guards)
			}
		}
		told := decisionOf(d, at, intent)
		told.Number = number
		for _, v := range []rollout.Votes{seen.Main, seen.Fast} {
			if e := told.Evidence; e != nil && number != 0 && v.Generation == number {
				seenOf(e, v)
			}
		}
		st.memory.note(told)
		by := ledger.Itself()
		if d.By != (rollout.Person{}) {
			by = api.Caller{User: d.By.User, UID: d.By.UID}
		}
		e := st.Ledger.Entry(by, "rollout", d.Sentence)
		e.Name, e.Digest, e.Number, e.Outcome = d.Name, d.Digest, told.Number, outcomeOf(d)
		if text, err := json.Marshal(told); err == nil {
			e.Decision = text
		}
		st.Ledger.Audit(e)
	}
}

// note adds a decision to the story of its rollout.
func (m *memory) note(d api.Decision) {
	i := slices.IndexFunc(m.Stories, func(s story) bool { return s.Order.ID == d.Rollout })
	if i < 0 {
		return
	}
	m.Stories = slices.Clone(m.Stories)
	s := &m.Stories[i]
	if d.From != d.To || d.Gate == string(rollout.GateArms) || s.Since.IsZero() {
		s.Since = d.At
	}
	if d.Number != 0 {
		s.Number = d.Number
	}
	s.Decisions = append(slices.Clone(s.Decisions), d)
	if n := len(s.Decisions) - mostDecisions; n > 0 {
		s.Decisions = s.Decisions[n:]
	}
}

func outcomeOf(d rollout.Decision) string {
	if strings.HasPrefix(d.Sentence, rollout.NothingChanged) {
		return api.OutcomeUnchanged
	}
	switch d.To {
	case rollout.StageDone:
		return api.OutcomeDone
	case rollout.StageRefused:
		return api.OutcomeRefused
	case rollout.StageTakenBack:
		return api.OutcomeRolledBack
	case rollout.StageHeld:
		return api.OutcomeHeld
	}
	return d.To.String()
}

// decisionOf is a decision as a person checks it.
func decisionOf(d rollout.Decision, at time.Time, intent rollout.Intent) api.Decision {
	out := api.Decision{At: at, Rollout: d.ID, From: d.From.String(), To: d.To.String(), Gate: string(d.Gate),
		Sentence: d.Sentence, Quarantined: d.Condemns, Name: d.Name, Digest: d.Digest}
	if d.From == rollout.StageCanary {
		out.Step = d.Step + 1
	}
	if d.Counts == (rollout.Counts{}) && len(d.Looks)+len(d.Blame) == 0 && d.Hit == nil && d.Sides == nil {
		return out
	}
	out.Evidence = evidenceOf(d.Counts)
	out.Evidence.Arms = armsOf(d.Sides)
	out.Evidence.Looks = looksOf(d.Looks)
	for _, b := range d.Blame {
		out.Evidence.Blame = append(out.Evidence.Blame, blameOf(b, d.Counts.Pairs, intent))
	}
	if h := d.Hit; h != nil {
		out.Evidence.Hit = &api.Hit{Class: string(h.Class), Who: h.Who, Confirmed: h.Confirmed,
			Blame: blameOf(h.Blame, 0, intent)}
	}
	return out
}

// seenOf adds what is counted since the generation is compared, not since its stage began: whose votes the rules have,
// too.
func seenOf(e *api.Evidence, v rollout.Votes) {
	e.Unconfirmed, e.Lost = v.Unconfirmed, v.Lost
	for i := range e.Blame {
		if v.Pairs > 0 {
			e.Blame[i].Share = float64(e.Blame[i].Votes) / float64(v.Pairs)
		}
	}
}

func evidenceOf(c rollout.Counts) *api.Evidence {
	return &api.Evidence{Connections: c.Connections, Votes: c.Pairs, Declared: c.Declared, Undeclared: c.Undeclared,
		NewPasses: c.NewPasses, BothBlock: c.BothBlock}
}

func armsOf(s *rollout.Sides) *api.Arms {
	if s == nil {
		return nil
	}
	return &api.Arms{Canary: api.Arm{Sources: s.Canary.Sources, Failing: s.Canary.Bad},
		Control: api.Arm{Sources: s.Control.Sources, Failing: s.Control.Bad}}
}

func looksOf(all []sequential.Look) (out []api.Look) {
	for _, l := range all {
		out = append(out, api.Look{Yes: l.Yes, Of: l.Votes, Side: l.Side.String(), Bound: l.Bound, Value: l.LnE,
			Limit: l.Limit, Shown: l.Rejects()})
	}
	return out
}

func blameOf(b rollout.Blame, votes int64, intent rollout.Intent) api.Blame {
	id, feature, _ := strings.Cut(b.What, ": ")
	if b.Rule < 0 {
		id, feature = "", b.What
	}
	out := api.Blame{Rule: b.Rule, ID: id, Label: b.Label, Feature: feature, Votes: b.Votes,
		Declared: intent.NewBlocks > 0 && (len(intent.By) == 0 || slices.Contains(intent.By, b.Label))}
	if votes > 0 {
		out.Share = float64(b.Votes) / float64(votes)
	}
	return out
}
