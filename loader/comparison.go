// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"net/netip"
	"time"

	"github.com/spillway/spillway/bpf"
)

// Lane is one of the two rollouts that may be compared at once.
type Lane uint8

// The lanes, as package rollout has them.
const (
	LaneMain Lane = bpf.LaneMain
	Lanes    Lane = bpf.Lanes
	LaneFast Lane = bpf.LaneFast // a change on the fast track; its generation stands beside the candidate
)

// String returns main or fast.
func (l Lane) String() string {
	if l == LaneMain {
		return "main"
	}
	return "fast"
}

// Comparison is what a lane compares: the verdicts of two resident generations on the same first payloads. In shadow
// and canary Old is stable and New the candidate, or what stands beside it; while New bakes it is stable, and Old the
// generation before. What is promoted is compared with the same two as before: it is the same comparison.
type Comparison struct {
	// Run is one attempt of one rollout, never 0, and none of the last 65,535. A source prefix votes once a run and day,
	// and counts once a run in the arms. A rebase keeps the run: another New, and the votes stay.
	Run      uint16
	Old, New uint32 // numbers of generations
	// Allowed is how many extra blocks of a thousand connections, by any rule, the budget of New has beside its own:
	// what a person accepted.
	Allowed uint16
}

// LaneCounts are what a lane has counted of New since Compare named it. Each count only grows, but for Votes of single
// pairs: a prefix that shows a stronger pair later moves its vote, so one cell may go down, even below zero after a
// rebase. Their sum over all pairs never goes down.
type LaneCounts struct {
	New uint32
	// Connections are first payloads that somebody vouches for. They say that there was traffic.
	Connections uint64
	// Unconfirmed are decisions on what can be forged; Lost is what found no room and was counted nowhere.
	Unconfirmed, Lost uint64
	Pairs             []Pair
	// Blame counts, for each rule, the prefixes that New would not block without it.
	Blame []RuleVotes
	// Arms are those of the run, of LaneMain alone.
	Arms Arms
	// Hits are protected sources that New blocks and Old passes: the last one, if there was any.
	Hits []Hit
}

// Pair is a kind of difference, or of agreement, and how many source prefixes showed it as their strongest.
type Pair struct {
	Service              uint8
	OldBlocks, NewBlocks bool
	Class                Class
	// Rule is the index of the rule that New blocks by, where Old passes: the one that weighed most, if New would pass
	// without it. Else it is RuleSeveral, or RuleNone where no rule made the block.
	Rule int
	// Declared says that the bundle named the rule in its intent; of several, all of them.
	Declared bool
	Votes    int64
}

// Rules of a Pair or a Hit that are none of the bundle's.
const (
	RuleNone    = -1
	RuleSeveral = -2 // several together, none of which could be left out alone
)

// RuleVotes are the source prefixes that New blocks, Old passes, and New would pass without the rule.
type RuleVotes struct {
	Rule  uint16
	Votes int64
}

// Class says why a source is protected, ClassNone for all others. It is what the host's allowlist says of its prefix.
type Class uint8

// The classes that the kernel tells apart.
const (
	ClassNone      = Class(bpf.ClassNone)
	ClassAllowlist = Class(bpf.ClassAllowlist)
	ClassGolden    = Class(bpf.ClassGolden)
	ClassHealth    = Class(bpf.ClassHealth)
	ClassCrawler   = Class(bpf.ClassCrawler)
	ClassVouched   = Class(bpf.ClassVouched)
)

// Arms are the two sides of a canary, in source prefixes. A prefix counts once a run.
type Arms struct{ Canary, Control Arm }

// Arm is one side of a canary. Bad are the prefixes of which a connection was blocked by a rule that is not declared,
// or was reset by its client.
type Arm struct{ Sources, Bad int64 }

// Hit is a protected source that New blocks and Old passes, on a first payload that somebody vouches for.
type Hit struct {
	Class    Class
	Service  uint8
	Source   netip.Addr
	Rule     int // as that of Pair
	Declared bool
	At       time.Time
}
