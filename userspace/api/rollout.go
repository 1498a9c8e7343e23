// SPDX-License-Identifier: Apache-2.0

package api

import (
	"time"

	"github.com/spillway/spillway/config"
)

// The states of a rollout.
//
//	queued ─▶ building ─┬─────────────────▶ done
//	   │         │      ├▶ running (in stages) ─▶ done, refused, held, taken_back
//	   │         │      └▶ waiting_confirm ─┤ confirmed: done
//	   │         │                          ├ not in time, or ended by hand: withdrawn
//	   │         │                          └ its lease lapsed: held
//	   │         ├ refused, held, failed
//	   └─────────┴ withdrawn: by hand, or because its sender hung up
const (
	RolloutQueued    = "queued"          // other changes come first
	RolloutBuilding  = "building"        // it is checked and built aside; nothing is in force yet
	RolloutWaiting   = "waiting_confirm" // its generation decides, and goes back by itself unless it is confirmed
	RolloutRunning   = "running"         // it goes through its stages: Staged says where it is
	RolloutDone      = "done"            // its generation is stable, or was already
	RolloutRefused   = "refused"         // it has faults
	RolloutHeld      = "held"            // a person must accept it with a reason
	RolloutTakenBack = "taken_back"      // a gate took it back: what was stable before decides
	RolloutWithdrawn = "withdrawn"       // it was ended before it was stable
	RolloutFailed    = "failed"          // the system failed, or something came between; nothing changed
)

// The kinds of a rollout.
const (
	RolloutApply  = "apply"    // adds the bundle of its name, or replaces it
	RolloutRemove = "remove"   // takes a bundle out
	RolloutBack   = "rollback" // gives one bundle its version before
	RolloutHost   = "host"     // what the host file newly lets be blocked; its name is "host file"
)

// Rollout is one change of the bundles in force, from its request to its end. What it did is its Change.
type Rollout struct {
	Change
	// ID is this host's, and means nothing elsewhere.
	ID    string `json:"id"`
	State string `json:"state"`
	Kind  string `json:"kind"`
	// Key is what the sender called it: whoever lost the connection finds it again.
	Key string `json:"key,omitempty"`
	// By, Reason and Accept are of the person who asked.
	By      string    `json:"by,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Accept  string    `json:"accept,omitempty"`
	Created time.Time `json:"created"`
	Ended   time.Time `json:"ended,omitzero"`
	// Refusal is why it is refused, held or failed.
	Refusal *Error `json:"refusal,omitempty"`
	// Staged is where it stands; nil where it does not go in stages.
	Staged *Staged `json:"staged,omitempty"`
}

// Over reports whether nothing more can come of the rollout.
func (r *Rollout) Over() bool {
	switch r.State {
	case RolloutQueued, RolloutBuilding, RolloutWaiting, RolloutRunning:
		return false
	}
	return true
}

// Queued is a rollout that waits for its turn.
type Queued struct {
	ID     string        `json:"id"`
	Kind   string        `json:"kind"`
	Name   string        `json:"name"`
	Digest config.Digest `json:"digest,omitzero"`
	Remove string        `json:"remove,omitempty"` // the bundle that goes as this one comes
	By     string        `json:"by,omitempty"`
	Reason string        `json:"reason,omitempty"`
	Since  time.Time     `json:"since"`
	// Waits says for what.
	Waits string `json:"waits,omitempty"`
}

// RolloutList answers GET /v1/rollouts, newest first: those that are not over, and the last that are.
type RolloutList struct {
	Envelope
	Rollouts []Rollout `json:"rollouts"`
	// Stages are nil where guards.rollout is direct.
	Stages *Stages `json:"stages,omitempty"`
}

// Waiting returns the rollout that waits for a confirmation; nil when none does.
func (l *RolloutList) Waiting() *Rollout {
	for i := range l.Rollouts {
		r := &l.Rollouts[i]
		if r.State == RolloutWaiting || r.Staged != nil && r.Staged.Unconfirmed && !r.Over() {
			return r
		}
	}
	return nil
}

// ByKey returns the newest rollout that its sender called so; nil when there is none.
func (l *RolloutList) ByKey(key string) *Rollout {
	for i := range l.Rollouts {
		if l.Rollouts[i].Key == key {
			return &l.Rollouts[i]
		}
	}
	return nil
}

// RolloutRequest is the body of POST /v1/rollouts. With a bundle the body is multipart/form-data of two parts in this
// order: options, with this as JSON, and bundle, a tar stream. Without one it is this as JSON, and Remove names the
// bundle to take out. One change runs at a time: what must wait for its turn is answered at once, with the state
// queued.
type RolloutRequest struct {
	// Name is how faults call the bundle: the path that the caller typed.
	Name string `json:"name,omitempty" text:"path"`
	// Remove takes the bundle of this name out: instead of adding one, or as the bundle of another name comes.
	Remove string `json:"remove,omitempty"`
	// Stored names a bundle that the agent still has on disk, instead of one that is sent: by the number of a generation
	// that had it, or by the beginning of its digest.
	Stored string `json:"stored,omitempty"`
	// ConfirmSeconds, when not zero, makes the result a candidate for all traffic that goes back by itself after this time
	// unless it is confirmed.
	ConfirmSeconds float64 `json:"confirmSeconds,omitempty"`
	// Accept is the reason of a person who accepts what is held.
	Accept string `json:"accept,omitempty"`
	// Reason for the history.
	Reason string `json:"reason,omitempty"`
	// Key is the sender's own name of the rollout, at best a random one.
	Key string `json:"key,omitempty"`
	// The others are for stages, and refused where there are none (direct). Stage is where it stops until a person
	// promotes it: "shadow", or "" for nowhere.
	Stage string `json:"stage,omitempty"`
	// AcceptBlocks is the share of new blocks that a person accepts, by any rule; 0 to 1.
	AcceptBlocks float64 `json:"acceptBlocks,omitempty"`
	// Replace takes the place of the rollout that runs.
	Replace bool `json:"replace,omitempty"`
	// Emergency decides for everybody within half a minute, for an hour at most. It needs a Reason.
	Emergency bool `json:"emergency,omitempty"`
}

// ApplyOptions are a RolloutRequest as a Client takes it. The zero value makes the bundle stable at once.
type ApplyOptions struct {
	// Confirm, when not zero, makes the bundle a candidate for all traffic that goes back by itself after this time
	// unless it is confirmed.
	Confirm time.Duration
	// Remove takes the bundle of this name out as the other comes.
	Remove string
	// Accept is the reason of a person who accepts what is held.
	Accept string
	// Reason for the history.
	Reason string
	// Key is the sender's own name of the rollout.
	Key string
	// Stage, AcceptBlocks, Replace and Emergency are those of a RolloutRequest: a host without stages refuses them.
	Stage        string
	AcceptBlocks float64
	Replace      bool
	Emergency    bool
}

// Request is the request for the bundle of that path.
func (o ApplyOptions) Request(name string) RolloutRequest {
	return RolloutRequest{Name: name, Remove: o.Remove, ConfirmSeconds: o.Confirm.Seconds(), Accept: o.Accept,
		Reason: o.Reason, Key: o.Key, Stage: o.Stage, AcceptBlocks: o.AcceptBlocks, Replace: o.Replace,
		Emergency: o.Emergency}
}

// Confirm is ConfirmSeconds as a duration.
func (r *RolloutRequest) Confirm() time.Duration {
	return time.Duration(r.ConfirmSeconds * float64(time.Second))
}

// PlanRequest are the options of POST /v1/plan; its body has the form of POST /v1/rollouts.
type PlanRequest struct {
	Name   string `json:"name,omitempty" text:"path"`
	Remove string `json:"remove,omitempty"`
}

// Bundle is one member of the set in force.
type Bundle struct {
	Name   string        `json:"name"`
	Digest config.Digest `json:"digest"`
	Number uint32        `json:"number"` // of the generation that decides
	Since  time.Time     `json:"since"`  // when that generation was built
	By     string        `json:"by,omitempty"`
	// Policy is true for the bundle that has the policy: it cannot be taken out.
	Policy bool `json:"policy"`
}

// BundleList answers GET /v1/bundles: the bundles in force, by name.
type BundleList struct {
	Envelope
	Bundles []Bundle `json:"bundles"`
}

// BundleReply answers GET /v1/bundles/{name}.
type BundleReply struct {
	Envelope
	Bundle
}
