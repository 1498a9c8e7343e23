// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"

	"github.com/spillway/spillway/config"
)

// Load is what a start brings into force.
type Load uint8

const (
	LoadCurrent  Load = iota // what the record says
	LoadPrevious             // what a rollback would go back to
	LoadEmpty                // nothing: everything passes
)

var loads = [...]string{"current", "previous", "empty"}

// String returns the word for people.
func (l Load) String() string { return loads[l] }

// crashesMost is how many starts with one bundle may end before they settle.
const crashesMost = 3

// Boot counts starts that did not settle. It is written to disk before anything is attached, so that a start which
// takes the machine with it is counted too. It has no clock: a machine that crashes at the start has none to trust.
//
//	start, crash, start, crash, start, crash, start ─▶ quarantine, previous ─▶ three more ─▶ empty
type Boot struct {
	Digest config.Digest `json:"digest"` // what was to be brought into force
	Starts int           `json:"starts"` // with it, that did not settle
	Load   Load          `json:"load"`
}

// Start is called before attaching, with what the record has; zero digests are none. It returns what to write down
// before going on, and a decision when something is condemned: its digest goes into the quarantine.
func (b Boot) Start(current, previous config.Digest) (Boot, *Decision) {
	want := current
	if b.Load == LoadPrevious {
		want = previous
	}
	if b.Load == LoadEmpty {
		return b, nil
	}
	if b.Digest != want {
		b.Digest, b.Starts = want, 0
	}
	if b.Starts++; b.Starts <= crashesMost {
		return b, nil
	}
	d := &Decision{Digest: want, Gate: GateBoot, To: StageTakenBack, Condemns: true}
	b = Boot{Load: LoadEmpty}
	if d.Digest == current && !previous.IsZero() && previous != current {
		b = Boot{Digest: previous, Starts: 1, Load: LoadPrevious}
	}
	d.Sentence = fmt.Sprintf("The agent crashed %d times with bundle %s: it is in quarantine, and this start takes %s.",
		crashesMost, want.Short(), b.Load)
	return b, d
}

// Settled is called five minutes after a start, at an orderly stop, and when another bundle was put into force.
func (b Boot) Settled() Boot { return Boot{Digest: b.Digest, Load: b.Load} }

// Renewed is called when a person puts a bundle into force: the next start loads that.
func (b Boot) Renewed() Boot { return Boot{} }
