// SPDX-License-Identifier: Apache-2.0

package api

import (
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/yaml"
)

// The outcomes of a change, in replies and in the history.
const (
	OutcomeApplied    = "applied"     // the bundle is stable
	OutcomeCandidate  = "candidate"   // the bundle decides, and waits for a confirmation
	OutcomeQueued     = "queued"      // it waits for its turn
	OutcomeUnchanged  = "unchanged"   // it was so already
	OutcomeDone       = "done"        // a confirmation, rollback, bypass, reload or ban was carried out
	OutcomeRefused    = "refused"     // the bundle or host file has faults
	OutcomeHeld       = "held"        // a person must accept it with a reason
	OutcomeFailed     = "failed"      // the system failed; nothing changed
	OutcomeRolledBack = "rolled_back" // a candidate went back by itself
	OutcomeFound      = "found"       // the kernel was in this state when the agent looked
)

// Change answers every request that changes something.
type Change struct {
	Envelope
	Outcome string        `json:"outcome"`
	Message string        `json:"message"`         // one sentence for people
	Digest  config.Digest `json:"digest,omitzero"` // of the bundle
	Name    string        `json:"name,omitempty"`
	Number  uint32        `json:"number,omitempty"`
	// Set has the bundles in force, where they are several.
	Set []config.Member `json:"set,omitempty"`
	// Deadline of a candidate that waits for a confirmation.
	Deadline time.Time `json:"deadline,omitzero"`
	// Until is when a bypass or a ban ends by itself.
	Until time.Time `json:"until,omitzero"`
	// BakeUntil is when the bundle becomes last-known-good.
	BakeUntil time.Time    `json:"bakeUntil,omitzero"`
	Warnings  []yaml.Fault `json:"warnings,omitempty"`
	Details   []string     `json:"details,omitempty"`
	// Incomplete says where the change does not reach, or where nobody knows whether it does: another program is attached
	// there, or none can be read to compare.
	Incomplete []string `json:"incomplete,omitempty"`
}

// Plan answers POST /v1/plan: what an apply of this bundle would change, without changing it.
type Plan struct {
	Envelope
	Digest  config.Digest `json:"digest"`
	Name    string        `json:"name"`
	Against *Known        `json:"against,omitempty"` // what is in force; nil when there is nothing
	// Set has the bundles that would be in force, where they are several.
	Set []config.Member `json:"set,omitempty"`
	// Changes is true when an apply would change something.
	Changes bool `json:"changes"`
	Added   int  `json:"added"`
	Removed int  `json:"removed"`
	Changed int  `json:"changed"`
	// Rows are the differences, at most 1,000; the counts above have all of them.
	Rows     []PlanRow    `json:"rows"`
	Holds    []Hold       `json:"holds,omitempty"` // an apply needs a reason
	Warnings []yaml.Fault `json:"warnings,omitempty"`
	// Notes say what it would come to on this host that the bundle itself does not say.
	Notes []string `json:"notes,omitempty"`
	// Third-party rows that are left out on this host: protected or own addresses, and reserved ones.
	OmittedProtected int `json:"omittedProtected,omitempty"`
	OmittedReserved  int `json:"omittedReserved,omitempty"`
	// Lists say what became of the rows of each list of the bundle, by name.
	Lists []config.ListCounts `json:"lists,omitempty"`
}

// PlanRow is one difference.
type PlanRow struct {
	Op   string `json:"op"`             // added, removed, changed
	What string `json:"what"`           // rule, prefix, tcp, ja4, p0f, reason, policy, intent, name
	List string `json:"list,omitempty"` // of a prefix
	Name string `json:"name"`           // the rule's id, the prefix, the fingerprint…
	From string `json:"from,omitempty"` // value before; "" when added
	To   string `json:"to,omitempty"`   // value after; "" when removed
}

// Hold is why a bundle waits for a person: it may be right, but it looks like a mistake.
type Hold struct {
	Code string `json:"code"` // growth, shrink, coverage, quarantined
	Text string `json:"text"`
}

// Reasoned is the body of changes that take nothing but a reason; it may be empty.
type Reasoned struct {
	Reason string `json:"reason,omitempty"`
}

// Where a rollback can go beside generations.
const (
	ToObserve = "observe" // everything is judged, and nothing is blocked, bans neither
	ToEmpty   = "empty"   // no bundle decides: only bans block, where the host enforces
)

// RollbackRequest is the body of POST /v1/rollback; it may be empty.
type RollbackRequest struct {
	Reason string `json:"reason,omitempty"`
	// To is the number of a stored generation, ToObserve or ToEmpty. Without it a candidate is ended, or else previous
	// becomes stable.
	To string `json:"to,omitempty"`
	// Bundle gives this one bundle of the set its version before; the others stay. A candidate that is about it is ended.
	Bundle string `json:"bundle,omitempty"`
}

// ReloadRequest is the body of POST /v1/reload; it may be empty.
type ReloadRequest struct {
	Reason string `json:"reason,omitempty"`
	// Ask holds a host file that can newly block at once (409, held): Holds say what. Without it the file is put into
	// force, and the reply's details say what it can newly block.
	Ask bool `json:"ask,omitempty"`
	// Emergency lets all of the host file count at once, and nothing of it come in stages. It has a reason.
	Emergency bool `json:"emergency,omitempty"`
}

// BypassRequest is the body of POST /v1/bypass. Fields that this release does not know are passed over, so that the
// command of a later one can stop an agent of this one.
type BypassRequest struct {
	On bool `json:"on"`
	// Service by name; "" is everything.
	Service string `json:"service,omitempty"`
	// ForSeconds ends the bypass by itself; 0: only by hand.
	ForSeconds float64 `json:"forSeconds,omitempty"`
	Reason     string  `json:"reason,omitempty"`
}

// BanRequest is the body of POST /v1/bans.
type BanRequest struct {
	// Prefix or address. An IPv6 address stands for its /64.
	Prefix     string  `json:"prefix"`
	ForSeconds float64 `json:"forSeconds,omitempty"` // 0: one hour
	Reason     string  `json:"reason,omitempty"`
}

// Ban is one block outside of bundles.
type Ban struct {
	Prefix  string    `json:"prefix"`
	Expires time.Time `json:"expires"`
	// Made, By and Reason are known for bans that this agent's state has.
	Made   time.Time `json:"made,omitzero"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// BanList answers GET /v1/bans.
type BanList struct {
	Envelope
	Bans     []Ban `json:"bans"`
	Capacity int   `json:"capacity"`
	// Idle is why they block nothing now; "" when they do.
	Idle string `json:"idle,omitempty"`
}

// HistoryEntry is one change, or an attempt at one.
type HistoryEntry struct {
	At      time.Time     `json:"at"`
	UID     uint32        `json:"uid"`
	User    string        `json:"user"`
	Verb    string        `json:"verb"`
	Reason  string        `json:"reason,omitempty"`
	Digest  config.Digest `json:"digest,omitzero"`
	Name    string        `json:"name,omitempty"`
	Number  uint32        `json:"number,omitempty"`
	Outcome string        `json:"outcome"`
	Detail  []string      `json:"detail,omitempty"`
	// Decision is that of a gate of a rollout, with its evidence.
	Decision *Decision `json:"decision,omitempty"`
}

// History answers GET /v1/history, newest first.
type History struct {
	Envelope
	Entries []HistoryEntry `json:"entries"`
	// Skipped counts lines that could not be read: torn by a crash, or changed.
	Skipped int `json:"skipped,omitempty"`
}

// Event is one decision, as GET /v1/events streams it, one a line.
type Event struct {
	Envelope
	Sequence        uint64    `json:"sequence"` // of this agent, from 1; a gap is what this reader lost
	Time            time.Time `json:"time"`
	Source          string    `json:"source"` // truncated to /24 or /48 when the host file asks for it
	SourcePort      uint16    `json:"sourcePort"`
	Destination     string    `json:"destination"`
	DestinationPort uint16    `json:"destinationPort"`
	Service         string    `json:"service"`
	Generation      uint32    `json:"generation"`
	Stage           string    `json:"stage"` // packet, syn, payload
	Reason          string    `json:"reason"`
	Verdict         string    `json:"verdict"`
	Score           *int      `json:"score,omitempty"` // nil: nothing matched
	Rule            string    `json:"rule,omitempty"`
	Label           string    `json:"label,omitempty"`
	// What the client said of itself, where it is known: its SYN as MuonFP and as p0f v3 prints it, its ClientHello as JA4
	// and as stable JA4.
	MuonFP    string `json:"muonfp,omitempty"`
	P0F       string `json:"p0f,omitempty"`
	JA4       string `json:"ja4,omitempty"`
	StableJA4 string `json:"stableJa4,omitempty"`
}
