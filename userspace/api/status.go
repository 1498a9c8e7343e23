// SPDX-License-Identifier: Apache-2.0

package api

import (
	"time"

	"github.com/spillway/spillway/config"
)

// The sources of a Status.
const (
	SourceAgent = "agent" // a running agent answered
	SourcePins  = "pins"  // no agent: read from the pinned maps
	SourceCards = "cards" // nothing of it is pinned here: read from what is attached to the interfaces
)

// The states of a host. "Everything passes" is said only where that was just read from the kernel.
const (
	StateProtected = "protected" // what the rules find is blocked or limited, on every interface and for every service
	StatePartly    = "partly"    // the same, but for an interface or a service
	StateObserving = "observing" // what would be blocked is counted, and passes
	// all is attached, and no rule of a bundle blocks anybody; bans do, and `fragments: drop`
	StateIdle        = "idle"
	StateBypassed    = "bypassed"    // the kill switch: everything passes
	StateUnprotected = "unprotected" // everything passes
	StateUnknown     = "unknown"     // what passes cannot be read; Problems say why
)

// Status is what Spillway does at this moment. What the kernel knows is read from the kernel; only names come from the
// state on disk.
type Status struct {
	Envelope
	Source string `json:"source"` // agent or pins
	Agent  *Agent `json:"agent,omitempty"`
	// State is what all of it comes to, and Says the same as one sentence for people.
	State string `json:"state"`
	Says  string `json:"says"`
	// Protected is true in state protected alone: it is false in observe mode, which blocks nobody.
	Protected bool `json:"protected"`
	// Problems are what is wrong now, worst first. Empty when all is well.
	Problems []Problem `json:"problems"`
	// Mode is observe or enforce, as the kernel has it; "" when the kernel part is not loaded.
	Mode        string       `json:"mode"`
	MaxMode     string       `json:"maxMode,omitempty"` // of the host file
	Interfaces  []Interface  `json:"interfaces"`
	Control     *Control     `json:"control,omitempty"`
	Generations []Generation `json:"generations"`
	// Bypass of everything. Services have their own.
	Bypass   Bypass    `json:"bypass"`
	Services []Service `json:"services"`
	// HeartbeatAgeSeconds is nil when no agent ever lived.
	HeartbeatAgeSeconds *float64 `json:"heartbeatAgeSeconds,omitempty"`
	// AgentTimeoutSeconds is after how long a heartbeat everything passes; nil: never.
	AgentTimeoutSeconds *float64  `json:"agentTimeoutSeconds,omitempty"`
	LeaseSecondsLeft    *float64  `json:"leaseSecondsLeft,omitempty"`
	Confirm             *Confirm  `json:"confirm,omitempty"`       // a candidate that waits for `spillway confirm`
	Queue               []Queued  `json:"queue,omitempty"`         // changes that wait for their turn
	Stages              *Stages   `json:"stages,omitempty"`        // nil where guards.rollout is direct
	Bake                *Bake     `json:"bake,omitempty"`          // a stable generation that is not last-known-good yet
	LastKnownGood       *Known    `json:"lastKnownGood,omitempty"` // on disk
	Stored              []Known   `json:"stored,omitempty"`        // where a rollback can go: in force once, and on disk
	HostNumber          uint32    `json:"hostNumber,omitempty"`    // of the published host image
	Packets             []Packets `json:"packets"`
	Bans                int       `json:"bans"`
	BanCapacity         int       `json:"banCapacity,omitempty"`
	EventsLost          uint64    `json:"eventsLost"`
	// LimitsLost are connections that passed without being charged to their limit, since others charged keys of the same
	// set; LimitsEvicted are keys that were forgotten, and have their whole burst again, since their set was full.
	LimitsLost    uint64 `json:"limitsLost"`
	LimitsEvicted uint64 `json:"limitsEvicted"`
	// Untracked says why connection tracking is not asked about connections, where a service asks for it.
	Untracked string   `json:"untracked,omitempty"`
	Drift     *Drift   `json:"drift,omitempty"` // of the last verification in the background
	Maps      []MapUse `json:"maps"`
}

// CandidateDecides reports whether a candidate decides for everybody: under a lease that lives, with all sources.
func (s *Status) CandidateDecides() bool {
	return s.Control != nil && s.Control.Candidate != 0 && s.Control.CanaryPermille >= 1000 && s.LeaseSecondsLeft != nil &&
		*s.LeaseSecondsLeft > 0
}

// Agent tells about the process that answered.
type Agent struct {
	Version  string    `json:"version"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	HostFile string    `json:"hostFile"`
	// State is running, or unprotected while the kernel part cannot be loaded or attached.
	State string `json:"state"`
}

// Ping answers GET /v1/ping: the agent takes requests. It waits for nothing.
type Ping struct {
	Envelope
	PID int `json:"pid"`
}

// The states of an agent; StateUnprotected is the other one.
const (
	StateRunning = "running"
)

// Problem is something wrong, and the way out.
type Problem struct {
	Code    string    `json:"code"`
	Message string    `json:"message"`
	Fix     string    `json:"fix,omitempty"`
	Since   time.Time `json:"since,omitzero"`
}

// Interface is one interface that faces the visitors.
type Interface struct {
	Name      string `json:"name"`          // in the host file
	Now       string `json:"now,omitempty"` // the device's, where it was renamed since it was attached
	Index     int    `json:"index,omitempty"`
	Protected bool   `json:"protected"` // what the rules find is blocked or limited here
	// Decides is true where packets are decided upon as the host file asks: by blocking, or by counting in observe mode.
	Decides   bool   `json:"decides"`
	State     string `json:"state"`          // attached, severed, missing, failed, foreign, unknown
	Mode      string `json:"mode,omitempty"` // native, generic
	ProgramID uint32 `json:"programID,omitempty"`
	LinkID    uint32 `json:"linkID,omitempty"`
	// ResetIsDrop says that the policy resets, and that what a program answers does not leave here: such a packet is
	// dropped.
	ResetIsDrop bool   `json:"resetIsDrop,omitempty"`
	Problem     string `json:"problem,omitempty"`
	Fix         string `json:"fix,omitempty"`
}

// The states of an interface beside those of loader.Attachment.
const (
	InterfaceFailed  = "failed"  // the agent could not attach
	InterfaceForeign = "foreign" // another program is on it than the pinned one
	InterfaceUnknown = "unknown" // netlink did not say
)

// Control is the control word.
type Control struct {
	Epoch     uint32 `json:"epoch"`
	Stable    uint8  `json:"stable"` // slots; 0 is the empty one
	Candidate uint8  `json:"candidate"`
	Previous  uint8  `json:"previous"`
	Host      uint8  `json:"host"`
	// CanaryPermille is the share of sources that the candidate decides.
	CanaryPermille uint16 `json:"canaryPermille"`
}

// Generation is a bundle in a slot of the kernel.
type Generation struct {
	Slot   uint8         `json:"slot"`
	Role   string        `json:"role"` // stable, candidate, previous, idle
	Number uint32        `json:"number"`
	Digest config.Digest `json:"digest"`         // the author's: the same on every host
	Name   string        `json:"name,omitempty"` // from the bundle on disk
	// Compiled is the digest of what this host compiled, where its record knows it: LeftOut third-party rows are not in
	// it, because they are protected or own addresses here.
	Compiled config.Digest `json:"compiled,omitzero"`
	// Members are the bundles of a set of several; Digest is then that of their list.
	Members []config.Member `json:"members,omitempty"`
	LeftOut int             `json:"leftOut,omitempty"`
	Built   time.Time       `json:"built"`
	Rules   int             `json:"rules"`
	// Rows of features, each a number of its own in JSON.
	Rows Rows `json:"-"`
}

// GenerationList answers GET /v1/generations.
type GenerationList struct {
	Envelope
	Generations []Generation `json:"generations"`
}

// Bypass says whether everything passes, and for how long.
type Bypass struct {
	Active bool `json:"active"`
	// SecondsLeft is nil while the bypass is off, and when it ends only by hand.
	SecondsLeft *float64 `json:"secondsLeft,omitempty"`
	// Since, By and Reason are known when the agent's history has them.
	Since  time.Time `json:"since,omitzero"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Service is one service of the published host image.
type Service struct {
	ID     uint8  `json:"id"`
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Bypass Bypass `json:"bypass"`
	// Policy is that of the bundle in force, with nothing stronger than max_verdict of the host file; nil where there is
	// none. What mode and bypass make of it, Status says.
	Policy *Policy `json:"policy,omitempty"`
}

// Confirm is a candidate that goes back by itself at Deadline.
type Confirm struct {
	Digest   config.Digest `json:"digest"`
	Name     string        `json:"name,omitempty"`
	Number   uint32        `json:"number"`
	Deadline time.Time     `json:"deadline"`
}

// Bake is a stable generation that becomes last-known-good at Until.
type Bake struct {
	Digest config.Digest `json:"digest"`
	Number uint32        `json:"number"`
	Until  time.Time     `json:"until"`
	// Waits says what the bake waits for ("it enforces"), when the bundle decides nothing now; Until then moves.
	Waits string `json:"waits,omitempty"`
}

// Known is a bundle on disk with the moment since which it has its role.
type Known struct {
	Digest config.Digest `json:"digest"`
	Name   string        `json:"name,omitempty"`
	Number uint32        `json:"number"`
	Since  time.Time     `json:"since"`
}

// Packets is one counter of the kernel's exit.
type Packets struct {
	Service string `json:"service"`        // "" for no service
	Slot    uint8  `json:"slot"`           // whose generation decided; 0: none did, or it has left its slot
	Left    bool   `json:"left,omitempty"` // summed over the generations that have left their slots
	Reason  string `json:"reason"`
	Verdict string `json:"verdict"` // pass, tag, limit, drop, would_drop…
	Packets uint64 `json:"packets"`
	// Connections that were decided so, each counted once.
	Connections uint64 `json:"connections"`
	// Alone are packets that were, or would have been, blocked by themselves and belong to no connection.
	Alone uint64 `json:"alone,omitempty"`
}

// MapUse is the size of a kernel map.
type MapUse struct {
	Name string `json:"name"`
	// Entries is nil where counting would need a walk over an expensive map.
	Entries  *int   `json:"entries,omitempty"`
	Capacity int    `json:"capacity"`
	Bytes    uint64 `json:"bytes"`
}

// Drift is what a verification found: where the kernel holds something else than it should.
type Drift struct {
	Checked time.Time    `json:"checked"`
	Entries []DriftEntry `json:"entries"`
}

// DriftEntry is one difference.
type DriftEntry struct {
	Where string `json:"where"`
	Want  string `json:"want"`
	Got   string `json:"got"`
}

// Verification answers GET /v1/verify.
type Verification struct {
	Envelope
	// OK is true when everything was checked and nothing differs.
	OK      bool         `json:"ok"`
	Checked time.Time    `json:"checked"`
	Entries []DriftEntry `json:"entries"`
	// Generations are those that were compared.
	Generations []Generation `json:"generations,omitempty"`
	// Left names what could not be checked and why, such as a generation whose bundle is not on disk.
	Left []string `json:"left,omitempty"`
}

// RuleList answers GET /v1/rules: the rules of the stable generation and how often each decided.
type RuleList struct {
	Envelope
	Generation uint32 `json:"generation"`
	Rules      []Rule `json:"rules"`
}

// Rule is one rule with its count since its generation was built.
type Rule struct {
	Index   uint16    `json:"index"`
	ID      string    `json:"id"`
	Label   string    `json:"label"`
	Score   int       `json:"score"`
	Verdict string    `json:"verdict,omitempty"` // allow or tag, of a rule without a score
	Expires time.Time `json:"expires,omitzero"`
	Matches uint64    `json:"matches"`
}
