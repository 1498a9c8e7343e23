// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"time"

	"github.com/spillway/spillway/config"
)

// The stages of a rollout that goes in stages (guards.rollout: staged). A rollout that is queued, held or over says so
// with its state too; while it goes through taste, shadow, canary and bake its state is running.
const (
	StageQueued    = "queued"
	StageTaste     = "taste"      // a child builds and tries it; nothing of it is in the kernel
	StageShadow    = "shadow"     // it is compared on real traffic, and decides for nobody
	StageCanary    = "canary"     // it decides for the share of the sources
	StageBake      = "bake"       // it decides for everybody and can still be taken back
	StageDone      = "done"       // it is last-known-good
	StageRefused   = "refused"    // a gate refused it before it decided for anybody
	StageTakenBack = "taken_back" // a gate took it back after it had decided
	StageHeld      = "held"       // it ended without a verdict on the bundle: a person goes on, or aborts
	StageWithdrawn = "withdrawn"  // a person ended it, or another took its place
)

// Staged is where a rollout stands that goes in stages, with what it was judged by.
type Staged struct {
	Stage string `json:"stage"`
	// Lane is main or fast: one rollout runs in each.
	Lane string `json:"lane,omitempty"`
	// Track is which way it takes: bundle (all stages), relax, delta, emergency.
	Track string `json:"track"`
	// Step of the canary, from 1, of Steps; 0 outside of the canary.
	Step  int `json:"step,omitempty"`
	Steps int `json:"steps,omitempty"`
	// SharePermille is for how many sources it decides now, as the kernel has it.
	SharePermille uint16    `json:"sharePermille"`
	Since         time.Time `json:"since"`            // of this stage, or step
	On            uint32    `json:"on,omitempty"`     // the generation that it is compared with; Number is its own
	Paused        string    `json:"paused,omitempty"` // why a person paused it
	Waits         string    `json:"waits,omitempty"`  // for what it waits now, as the engine says it
	// Unconfirmed says that a person must still confirm it, or it goes back by itself: at Deadline, where that is known.
	Unconfirmed bool `json:"unconfirmed,omitempty"`
	// Verdict is how it ended: held, refused, taken back; nil while it runs, and when it is done or was withdrawn.
	Verdict  *Verdict  `json:"verdict,omitempty"`
	Expects  *Expects  `json:"expects,omitempty"` // what it said that it would newly block
	Evidence *Evidence `json:"evidence,omitempty"`
	Estimate *Estimate `json:"estimate,omitempty"`
	// Decisions are those of its gates, oldest first.
	Decisions []Decision `json:"decisions,omitempty"`
}

// Verdict is why a rollout did not go on.
type Verdict struct {
	Gate string `json:"gate"`
	Why  string `json:"why"` // the decision's sentence
	// Quarantined says that this bundle comes again only with a reason.
	Quarantined bool `json:"quarantined"`
}

// Expects is what a rollout may newly block: what the bundle declares, or what a person accepted.
type Expects struct {
	NewBlocks float64  `json:"newBlocks"`          // of the votes, 0 to 1
	By        []string `json:"by,omitempty"`       // labels; none: any of them
	Accepted  bool     `json:"accepted,omitempty"` // by a person, instead of what the bundle declares
}

// Evidence is what was counted of one generation in one stage. A vote is one source prefix in 24 hours, by its
// strongest pair of verdicts; connections and unconfirmed decisions say only that there was traffic.
type Evidence struct {
	Connections int64 `json:"connections"`
	Votes       int64 `json:"votes"`
	Declared    int64 `json:"declared"`   // newly blocked, by a label that the bundle names
	Undeclared  int64 `json:"undeclared"` // newly blocked, by another
	NewPasses   int64 `json:"newPasses"`
	BothBlock   int64 `json:"bothBlock"`
	Unconfirmed int64 `json:"unconfirmed,omitempty"` // decisions on what a stranger can forge: they count for nothing
	// Lost are votes that the kernel had no room for; both since it compares this generation.
	Lost int64 `json:"lost,omitempty"`
	// Arms are the sources of the canary and the others, since the step began; nil where nobody is compared so.
	Arms *Arms `json:"arms,omitempty"`
	// Looks are the tests at the last look, Blame the rules with most new blocks. Hit is the protected source for which
	// the rollout ended: it ends in the look that sees one.
	Looks []Look  `json:"looks,omitempty"`
	Blame []Blame `json:"blame,omitempty"`
	Hit   *Hit    `json:"hit,omitempty"`
}

// Arms are the two sides of a canary.
type Arms struct {
	Canary  Arm `json:"canary"`
	Control Arm `json:"control"`
}

// Arm is one side, in source prefixes.
type Arm struct {
	Sources int64 `json:"sources"`
	Failing int64 `json:"failing"`
}

// Look is one test of a rate at one look: it shows what it tests for when Value reaches Limit.
type Look struct {
	Yes   int64   `json:"yes"`
	Of    int64   `json:"of"`
	Side  string  `json:"side"`  // above, below, not
	Bound float64 `json:"bound"` // the rate that it tests against
	Value float64 `json:"value"` // ln E
	Limit float64 `json:"limit"`
	Shown bool    `json:"shown"`
}

// Blame is one rule, and the votes that it newly blocks.
type Blame struct {
	Rule    int     `json:"rule"`         // its index in the kernel; below 0: several together, or no rule
	ID      string  `json:"id,omitempty"` // as the bundle names it; "": no single rule, or its name is not known
	Label   string  `json:"label,omitempty"`
	Feature string  `json:"feature,omitempty"` // what it matches: "ja4 t13d…"
	Votes   int64   `json:"votes"`
	Share   float64 `json:"share"` // of all votes, 0 to 1
	// Declared says that the bundle names this label.
	Declared bool `json:"declared"`
}

// Hit is a protected source that is newly blocked.
type Hit struct {
	Class string `json:"class"` // allowlist, golden client, health check, verified crawler, vouched source
	Who   string `json:"who"`   // a prefix or a name, as privacy allows
	// Confirmed says that a socket confirmed its first payload; else a stranger can forge it, and nothing comes of it.
	Confirmed bool  `json:"confirmed"`
	Blame     Blame `json:"blame"`
}

// Estimate is how long the rest takes at this traffic. Where nobody can know, the numbers are absent.
type Estimate struct {
	Sentence string `json:"sentence,omitempty"` // for people
	// StageSecondsLeft is of this stage or step, TotalSecondsLeft until it is done; nil: not known.
	StageSecondsLeft *float64 `json:"stageSecondsLeft,omitempty"`
	TotalSecondsLeft *float64 `json:"totalSecondsLeft,omitempty"`
	// Never says that at this traffic the longest time of a stage ends first: it will be held.
	Never bool `json:"never,omitempty"`
}

// Decision is one turn of a rollout, with the evidence that it was taken by: what a person can check afterwards.
type Decision struct {
	At       time.Time `json:"at"`
	Rollout  string    `json:"rollout"`
	From     string    `json:"from"` // stages
	To       string    `json:"to"`
	Step     int       `json:"step,omitempty"`
	Gate     string    `json:"gate"`
	Sentence string    `json:"sentence"` // for people, as the engine says it
	// Quarantined says that the bundle is in quarantine since then.
	Quarantined bool          `json:"quarantined,omitempty"`
	Evidence    *Evidence     `json:"evidence,omitempty"` // since From began
	Name        string        `json:"name,omitempty"`
	Digest      config.Digest `json:"digest,omitzero"`
	Number      uint32        `json:"number,omitempty"`
}

// Stages are what a host that rolls out in stages has beside its rollouts. It is nil where guards.rollout is direct.
type Stages struct {
	// Rollouts are those that run, and those that are held: in a status. A list of rollouts has them all itself.
	Rollouts []Rollout `json:"rollouts,omitempty"`
	// Frozen is set while nothing starts by itself; what lets more pass, and emergencies, still go.
	Frozen     *Frozen       `json:"frozen,omitempty"`
	Quarantine []Quarantined `json:"quarantine,omitempty"`
}

// Frozen is why nothing starts by itself.
type Frozen struct {
	Why   string    `json:"why"`
	By    string    `json:"by,omitempty"` // "" when two rollouts that were taken back did it
	Since time.Time `json:"since,omitzero"`
}

// Quarantined is a bundle that a gate refused or took back.
type Quarantined struct {
	Name   string        `json:"name"`
	Digest config.Digest `json:"digest"`
	Gate   string        `json:"gate"`
	Why    string        `json:"why"`
	Since  time.Time     `json:"since,omitzero"`
}

// Where names the stage as a person reads it: canary 2 of 4, 5% of the sources.
func (s *Staged) Where() string {
	switch {
	case s.Stage == StageTakenBack:
		return "taken back"
	case s.Stage != StageCanary:
		return s.Stage
	}
	text := "canary"
	if s.Steps > 1 {
		text = fmt.Sprintf("canary %d of %d", s.Step, s.Steps)
	}
	if s.SharePermille == 0 {
		return text + ", for nobody now"
	}
	return text + ", " + Permille(s.SharePermille) + " of the sources"
}

// Permille writes thousandths in percent: 5%, 0.5%.
func Permille(n uint16) string {
	if n%10 == 0 {
		return fmt.Sprintf("%d%%", n/10)
	}
	return fmt.Sprintf("%.1f%%", float64(n)/10)
}
