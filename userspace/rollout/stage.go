// SPDX-License-Identifier: Apache-2.0

package rollout

// Stage is where a rollout stands. Those from StageDone on are ends; a held one can go on.
type Stage uint8

const (
	StageNone Stage = iota
	StageTaste
	StageShadow
	StageCanary
	StageBake
	StageDone
	StageRefused
	StageTakenBack
	StageHeld
	StageWithdrawn
)

var stages = [...]string{
	"queued", "taste", "shadow", "canary", "bake", "done", "refused", "taken_back", "held", "withdrawn",
}

// String returns the stage as the API and the history write it.
func (s Stage) String() string { return stages[s] }

// MarshalText writes the stage as a word.
func (s Stage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote; an unknown word is an error.
func (s *Stage) UnmarshalText(text []byte) error { return word(stages[:], text, (*uint8)(s)) }

// runs reports whether a rollout at this stage is under way.
func (s Stage) runs() bool { return s > StageNone && s < StageDone }

// Gate is what decided.
type Gate string

const (
	GateTaste     Gate = "taste"      // the child that builds and tries the candidate
	GateProtected Gate = "protected"  // a source that no bundle may block
	GateIntent    Gate = "intent"     // what the bundle said that it would newly block
	GateArms      Gate = "arms"       // failures of the canary's sources against the others'
	GateRatio     Gate = "ratio"      // the canary has the share of the sources that it should
	GateBudget    Gate = "budget"     // the breaker in the kernel
	GateHealth    Gate = "health"     // the origin
	GateLease     Gate = "lease"      // the kernel went back because the agent was away
	GateTime      Gate = "time"       // evidence did not come in time
	GateConfirm   Gate = "confirm"    // nobody confirmed
	GateBoot      Gate = "boot"       // crashes at the start
	GateDelta     Gate = "delta"      // the fast track's bounds
	GateQueue     Gate = "queue"      // whose turn it is
	GateQuarant   Gate = "quarantine" // what was condemned before
	GateFreeze    Gate = "freeze"     // two rollouts were taken back within an hour
	GatePerson    Gate = "person"     // a person, with a reason
	GateBake      Gate = "bake"       // served long enough
	GateRebase    Gate = "rebase"     // rebuilt on a changed stable generation
	GateEmergency Gate = "emergency"  // an emergency ends after an hour
)
