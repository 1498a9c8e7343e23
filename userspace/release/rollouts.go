// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
)

// rollouts are the changes of the bundles in force, in the order in which they were asked for: those of this agent's
// life, and one that a former agent left waiting for its confirmation.
type rollouts struct {
	*site
	disk queueFile

	mu  sync.Mutex
	all []*rollout
}

// begin takes a new rollout up.
func (rs *rollouts) begin(by api.Caller, r api.RolloutRequest, wentBack uint64) *rollout {
	id := rs.ledger.NextRollout()
	ro := &rollout{by: by, host: rs.host(), confirm: r.Confirm(), wentBack: wentBack,
		Rollout: api.Rollout{Change: api.Change{Envelope: api.NewEnvelope(), Name: r.Remove}, ID: id,
			State: api.RolloutQueued, Kind: api.RolloutApply,
			Key: r.Key, By: by.User, Reason: r.Reason, Accept: r.Accept, Created: rs.ledger.Now().UTC()}}
	if r.Remove != "" {
		ro.Kind = api.RolloutRemove
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.all = append(rs.all, ro)
	over := 0
	for _, o := range rs.all {
		if o.Over() {
			over++
		}
	}
	rs.all = slices.DeleteFunc(rs.all, func(o *rollout) bool {
		if !o.Over() || over <= KeptRollouts {
			return false
		}
		over--
		return true
	})
	return ro
}

// finish writes down what became of a rollout, and returns it.
func (rs *rollouts) finish(ro *rollout, c *api.Change, err error) (*api.Rollout, error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if err != nil {
		var e *api.Error
		if !errors.As(err, &e) {
			e = &api.Error{Code: api.CodeInternal, Message: err.Error()}
		}
		refusal := *e // errors are shared
		refusal.Rollout = ro.ID
		ro.State, ro.Outcome, ro.Message, ro.Refusal, ro.Ended = stateOf(e,
			ro.ended), ledger.OutcomeOf(err), e.Message, &refusal, rs.ledger.Now().UTC()
		return nil, &refusal
	}
	ro.Change = *c
	ro.State = api.RolloutWaiting
	if c.Outcome != api.OutcomeCandidate {
		ro.State, ro.Ended = api.RolloutDone, rs.ledger.Now().UTC()
	}
	out := ro.Rollout
	return &out, nil
}

// list lists the changes, the newest first.
func (rs *rollouts) list() *api.RolloutList {
	rs.settle()
	rs.mu.Lock()
	defer rs.mu.Unlock()
	list := &api.RolloutList{Envelope: api.NewEnvelope(), Rollouts: []api.Rollout{}}
	for _, ro := range slices.Backward(rs.all) {
		list.Rollouts = append(list.Rollouts, ro.Rollout)
	}
	return list
}

// settle lets the rollouts follow the record: a confirmation, a rollback, a deadline, or somebody without an agent
// may have ended one; and a former agent may have left one.
func (rs *rollouts) settle() {
	r := rs.ledger.Record()
	rs.mu.Lock()
	defer rs.mu.Unlock()
	known := false
	for _, ro := range rs.all {
		same := r.Confirm != nil && isOf(r.Confirm, &ro.Rollout)
		known = known || same
		switch {
		case ro.State != api.RolloutWaiting || same:
		case r.Applied != nil && r.Applied.Number == ro.Number:
			ro.State, ro.Outcome, ro.Ended = api.RolloutDone, api.OutcomeApplied, rs.ledger.Now().UTC()
			ro.Message = fmt.Sprintf("generation %d was confirmed", ro.Number)
		case r.Held != nil && r.Held.Number == ro.Number:
			ro.State, ro.Outcome, ro.Ended, ro.Message = api.RolloutHeld, api.OutcomeHeld, rs.ledger.Now().UTC(), r.Held.Reason
		default:
			ro.State, ro.Outcome, ro.Ended = api.RolloutWithdrawn, api.OutcomeRolledBack, rs.ledger.Now().UTC()
			ro.Message = fmt.Sprintf("generation %d went back", ro.Number)
		}
	}
	if c := r.Confirm; c != nil && !known {
		rs.all = append(rs.all, leftRollout(c))
	}
}

// find returns a rollout as it is now.
func (rs *rollouts) find(id string) (*rollout, api.Rollout, error) {
	rs.settle()
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, ro := range rs.all {
		if ro.ID == id {
			return ro, ro.Rollout, nil
		}
	}
	return nil, api.Rollout{}, api.NoRollout(id)
}

// advance says how far a rollout is.
func (rs *rollouts) advance(ro *rollout, state string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	ro.State = state
}

// isEnded reports whether somebody ended the rollout before it was published.
func (rs *rollouts) isEnded(ro *rollout) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return ro != nil && ro.ended
}

// name gives a rollout the name and digest of what it is about.
func (rs *rollouts) name(ro *rollout) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	ro.Name = ro.wish.name()
	if ro.wish.bundle != nil {
		ro.Digest = ro.wish.bundle.Digest
	}
}

// renumber lets a rollout follow its candidate, which was built again.
func (rs *rollouts) renumber(before, next *state.Confirm) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, ro := range rs.all {
		if ro.State == api.RolloutWaiting && isOf(before, &ro.Rollout) {
			ro.Number = next.Number
			ro.Message = fmt.Sprintf("generation %d decides now, and goes back by itself unless `spillway confirm` keeps it",
				next.Number)
		}
	}
}
