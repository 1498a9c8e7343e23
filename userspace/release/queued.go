// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
)

// maxQueue bounds what waits. One a name waits, so this is as many names.
const maxQueue = 32

// enqueue lets a rollout wait. One of the same name that waits already is withdrawn: it is older.
func (rs *rollouts) enqueue(ro *rollout) error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	waiting := 0
	for _, other := range rs.all {
		if other == ro || other.State != api.RolloutQueued || !other.listed {
			continue
		}
		if slices.ContainsFunc(other.wish.names(), func(name string) bool { return slices.Contains(ro.wish.names(), name) }) {
			other.withdraw(rs.ledger.Now(), fmt.Sprintf("rollout %s of %s took its place", ro.ID, ro.By))
			continue
		}
		waiting++
	}
	if waiting >= maxQueue {
		return &api.Error{Code: api.CodeBusy, Message: fmt.Sprintf("%d changes wait already", waiting),
			Fix: "look at `spillway status`; cancel one with spillway cancel ID"}
	}
	ro.listed = true
	return nil
}

// claim takes a rollout out of the queue, if its turn is still now.
func (rs *rollouts) claim(ro *rollout) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, other := range rs.all {
		if other.State == api.RolloutBuilding {
			return false
		}
	}
	if ro.State != api.RolloutQueued || ro.ended {
		return false
	}
	ro.State = api.RolloutBuilding
	return true
}

// save writes down what waits.
func (rs *rollouts) save() {
	var queued []state.Queued
	rs.mu.Lock()
	for _, ro := range rs.all {
		if ro.State != api.RolloutQueued || !ro.listed {
			continue
		}
		q := state.Queued{Rollout: ro.ID, Remove: ro.wish.remove, Confirm: ro.confirm, Accept: ro.Accept, Reason: ro.Reason,
			At: ro.Created, UID: ro.by.UID, By: ro.by.User}
		if b := ro.wish.bundle; b != nil {
			q.Name, q.Digest = b.Name, b.Digest
		}
		queued = append(queued, q)
	}
	rs.mu.Unlock()
	if err := rs.disk.SaveQueue(queued); err != nil {
		rs.ledger.SetProblem(ledger.ProblemQueue, "what waits would be lost with this agent: "+err.Error(),
			"free or repair the disk; traffic does not need it")
		return
	}
	rs.ledger.ClearProblem(ledger.ProblemQueue)
}

// load takes up what waited for a former agent.
func (rs *rollouts) load() {
	queued, err := rs.disk.Queue()
	if err != nil {
		rs.ledger.SetProblem(ledger.ProblemQueue, "what waited for the agent before cannot be read: "+err.Error(),
			"apply it again; nothing of it came into force")
		return
	}
	for _, q := range queued {
		ro := &rollout{wish: wish{remove: q.Remove}, confirm: q.Confirm, by: api.Caller{UID: q.UID, User: q.By}, listed: true}
		ro.Rollout = api.Rollout{ID: q.Rollout, State: api.RolloutQueued, Kind: api.RolloutApply, By: q.By, Reason: q.Reason,
			Accept: q.Accept, Created: q.At,
			Change: api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeQueued, Name: q.Name,
				Message: "rollout " + q.Rollout + " waits for its turn; it waited for the agent before"}}
		if q.Name == "" {
			ro.Kind, ro.Name = api.RolloutRemove, q.Remove
		} else if ro.wish.bundle, err = rs.disk.Bundle(q.Digest); err != nil {
			e := rs.ledger.Entry(ro.by, ro.Kind, q.Reason)
			e.Name, e.Digest, e.Outcome, e.Detail = q.Name, q.Digest, api.OutcomeFailed,
				[]string{"it waited, and is lost: " + err.Error()}
			rs.ledger.Audit(e)
			ro.wish.bundle, ro.State, ro.Outcome, ro.Ended = nil, api.RolloutFailed, api.OutcomeFailed, rs.ledger.Now().UTC()
			ro.Message = "it waited, and is lost: " + err.Error()
		}
		if n, err := strconv.ParseUint(q.Rollout, 10, 64); err == nil {
			rs.ledger.HadRollout(n)
		}
		rs.mu.Lock()
		rs.all = append(rs.all, ro)
		rs.mu.Unlock()
	}
}

// digests are of bundles that wait: they stay on disk.
func (rs *rollouts) digests() []config.Digest {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var out []config.Digest
	for _, ro := range rs.all {
		if ro.State == api.RolloutQueued && ro.wish.bundle != nil {
			out = append(out, ro.wish.bundle.Digest)
		}
	}
	return out
}

// inLine returns what waits in its order, and why none of it may begin: another one is built.
func (rs *rollouts) inLine() (queued []*rollout, why string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, ro := range rs.all {
		switch {
		case ro.State == api.RolloutBuilding:
			why = fmt.Sprintf("rollout %s (%s) is built", ro.ID, ro.wish.name())
		case ro.State == api.RolloutQueued && ro.listed:
			queued = append(queued, ro)
		}
	}
	return queued, why
}

// isFast returns what setFast noted for these two generations.
func (rs *rollouts) isFast(ro *rollout, asked [2]config.Digest) (fast, known bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return ro.fast, ro.fastAsked == asked
}

func (rs *rollouts) setFast(ro *rollout, asked [2]config.Digest, fast bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	ro.fastAsked, ro.fast = asked, fast
}

// wait tells the sender of a rollout that it waits.
func (rs *rollouts) wait(ro *rollout, why string) api.Rollout {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	ro.Outcome = api.OutcomeQueued
	ro.Message = fmt.Sprintf("rollout %s waits for its turn: %s", ro.ID, why)
	return ro.Rollout
}

// cancel ends a rollout that is not in force yet: one that is being built is not published.
func (rs *rollouts) cancel(ro *rollout, by string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	ro.ended = true
	if ro.State == api.RolloutQueued {
		ro.withdraw(rs.ledger.Now(), "cancelled by "+by)
	}
}

// queued lists what waits, and why.
func (rs *rollouts) queued(why string) (list []api.Queued) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, ro := range rs.all {
		if ro.State != api.RolloutQueued || !ro.listed {
			continue
		}
		q := api.Queued{ID: ro.ID, Kind: ro.Kind, Name: ro.wish.name(), By: ro.By, Reason: ro.Reason,
			Since: ro.Created, Waits: why}
		if ro.wish.bundle != nil {
			q.Digest, q.Remove = ro.wish.bundle.Digest, strings.TrimSpace(ro.wish.remove)
		}
		list = append(list, q)
	}
	return list
}
