// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"strings"

	"github.com/spillway/spillway/config"
)

// Evidence is what the agent saw since the last step, and what people asked for. The zero value is "nothing is
// known": it promotes nothing and takes nothing back.
type Evidence struct {
	Commands []Command
	Taste    []Taste
	Kernel   Kernel
	Main     Votes // of the candidate of the rollout that runs
	Fast     Votes // of the change on the fast track
	Arms     Arms
	Health   Health
}

// Taste is how the child ended that built and tried a generation.
type Taste struct {
	ID      string   // of the rollout
	Outcome TasteEnd // how it ended
	Number  uint32   // the generation that was built; 0 unless passed
	Golden  string   // which golden client was blocked
	Detail  string   // a sentence
	Base    uint32   // the stable generation that it was built on
	Way     *Way     // which way it takes on that; nil: the one that it was asked for
}

// Way is which way a change takes on a stable generation. On another one it may be another: what only lets more pass
// than a bundle that was taken back may block more than the one before.
type Way struct {
	Kind  Kind
	Delta Delta
}

// TasteEnd is how a taste ended.
type TasteEnd uint8

const (
	TastePassed TasteEnd = iota
	TasteCrashed
	TasteHung
	TasteGolden // a golden client would be blocked
	TasteWrong  // what was read back differs, or a limit was exceeded
	TasteFailed // the host could not try: no memory, no rights. Nothing is said about the bundle
)

// Kernel is what was read from the kernel at one moment. Generation numbers; 0 is none.
type Kernel struct {
	Known     bool // it could be read
	Stable    uint32
	Candidate uint32
	Beside    uint32   // the second candidate, of the fast track: it decides for nobody
	Share     uint16   // thousandths of the sources for which Candidate decides now
	Lapsed    uint32   // the candidate whose lease ended
	Tripped   uint32   // the generation whose budget was used up: its new blocks pass
	Deciding  bool     // mode enforce, no bypass, an interface attached
	Observes  bool     // mode observe: nothing blocks
	Resident  []uint32 // all generations that are in slots; nil: not known
}

// Votes are counts of one generation, from 0 when it was published, and only growing. One vote is one source prefix
// (/24, /48) in 24 hours: its strongest pair of verdicts, on a first payload that a socket confirmed. SYNs and what
// no socket confirmed can be forged, and are counted in Unconfirmed alone, for people.
type Votes struct {
	Generation  uint32
	Connections int64   // confirmed first payloads: they say only that there was traffic
	Pairs       int64   // votes
	NewPasses   int64   // of them: stable blocks, the candidate passes
	BothBlock   int64   // of them: both block
	NewBlocks   []Blame // of them: stable passes, the candidate blocks, by the rule without which it would not
	Protected   []Hit   // protected sources that the candidate would block or blocked; one entry is enough
	Unconfirmed int64   // decisions on what can be forged
	Lost        int64   // votes for which the kernel had no room; for people, no gate asks
}

// Blame is one rule and the votes that it would newly block.
type Blame struct {
	Rule  int    `json:"rule"` // its index in the kernel, which no person knows; below 0: no single rule
	Label string `json:"label"`
	What  string `json:"what"` // its id and its feature as a person wrote them; without a single rule what it is instead
	Votes int64  `json:"votes"`
}

// subject names the rule as the bundle does, to begin a sentence.
func (b Blame) subject() string {
	switch {
	case b.Rule < 0:
		return strings.ToUpper(b.What[:min(1, len(b.What))]) + b.What[min(1, len(b.What)):]
	case b.Label == "":
		return "Rule `" + b.What + "`"
	}
	return "Rule `" + b.What + "` (label " + b.Label + ")"
}

// Class is why a source is protected.
type Class string

const (
	ClassAllowlist Class = "allowlist"
	ClassGolden    Class = "golden client"
	ClassHealth    Class = "health check"
	ClassCrawler   Class = "verified crawler"
	ClassVouched   Class = "vouched source"
)

// Hit is a protected source that is newly blocked.
type Hit struct {
	Class     Class  `json:"class"`
	Who       string `json:"who"`       // prefix or name, as privacy allows
	Confirmed bool   `json:"confirmed"` // a socket confirmed its first payload
	Blame     Blame  `json:"blame"`
}

// Arms are sources, not connections: the canary is chosen by source prefix, so a prefix is one draw however often it
// comes. A prefix counts once an attempt: as a source when it is first seen, as bad when one of its connections first
// fails (it is newly blocked by what was not declared, or its client resets it before the server has its ClientHello,
// or anything where there is none). A prefix of which the candidate newly blocks something declared, in either arm, is
// left out for good: its owner can tell in which arm it is, and could make the others fail. Counts are from 0 when the
// attempt began, and only grow.
type Arms struct {
	Attempt int
	ID      string // of the rollout
	Canary  Arm
	Control Arm
}

// Arm is one side of the canary, in source prefixes.
type Arm struct {
	Sources int64
	Bad     int64
}

// Health is the origin's.
type Health struct {
	Known bool    // there was data
	Bad   bool    // beyond the threshold
	What  string  // the question, as the host file names it
	Value float64 // in the question's own unit
	Limit float64
}

// Verb is what a person asks for.
type Verb string

const (
	VerbApply   Verb = "apply"
	VerbPause   Verb = "pause"
	VerbResume  Verb = "resume" // of a pause, or of a rollout that is held
	VerbAbort   Verb = "abort"
	VerbPromote Verb = "promote" // goes on although the evidence is inconclusive
	VerbAccept  Verb = "accept"  // --accept-blocks
	VerbConfirm Verb = "confirm"
	VerbFreeze  Verb = "freeze"
	VerbThaw    Verb = "thaw"
	VerbBack    Verb = "rollback" // of the bundle that Change names, or of all
)

// Command is what a person asks for. All but apply, confirm and rollback need a reason.
type Command struct {
	Verb   Verb
	ID     string // of the rollout; "" where there is none
	Change Change // of apply
	Share  float64
	Digest config.Digest // of thaw: also lift this quarantine
	By     string
	UID    uint32 // of By
	Reason string
}
