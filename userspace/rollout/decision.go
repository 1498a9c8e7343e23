// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/rollout/sequential"
)

// Decision is one turn of a rollout with its evidence: a value that the history can store and a person can check.
type Decision struct {
	At     time.Duration `json:"at"` // of State.Clock
	ID     string        `json:"id"`
	Name   string        `json:"name"`
	Digest config.Digest `json:"digest"`
	From   Stage         `json:"from"`
	To     Stage         `json:"to"`
	Step   int           `json:"step"` // of the canary
	Gate   Gate          `json:"gate"`
	Grounds
	Condemns bool   `json:"condemns"` // the bundle is in quarantine now
	Sentence string `json:"sentence"`
	By       Person `json:"by,omitzero"` // whose command it answers; nobody's: the engine's own
}

// Grounds are what a decision rests on.
type Grounds struct {
	Counts Counts            `json:"counts"`          // since From began
	Sides  *Sides            `json:"sides,omitempty"` // of a canary that has another side: since the step began
	Looks  []sequential.Look `json:"looks,omitempty"`
	Blame  []Blame           `json:"blame,omitempty"` // the rules with most new blocks, at most five
	Hit    *Hit              `json:"hit,omitempty"`   // the protected source
}

// Person is who gave a command.
type Person struct {
	User string `json:"user"`
	UID  uint32 `json:"uid"`
}

// Sides are the two sides of a canary.
type Sides struct {
	Canary  Arm `json:"canary"`
	Control Arm `json:"control"`
}

// mostBlame is how many rules a decision names.
const mostBlame = 5

// worst returns the rules with most new blocks that the intent does not name, then the others; ties in the order of
// rules.
func worst(all []Blame, intent Intent) []Blame {
	var out []Blame
	for _, b := range all {
		at := len(out)
		for at > 0 && worse(b, out[at-1], intent) {
			at--
		}
		if at >= mostBlame || b.Votes <= 0 {
			continue
		}
		out = append(out, Blame{})
		copy(out[at+1:], out[at:])
		out[at] = b
		out = out[:min(len(out), mostBlame)]
	}
	return out
}

func worse(a, b Blame, intent Intent) bool {
	if x, y := intent.names(a.Label), intent.names(b.Label); x != y {
		return !x
	}
	if a.Votes != b.Votes {
		return a.Votes > b.Votes
	}
	return a.Rule < b.Rule
}
