// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// One change runs at a time; the others wait here, in the order in which they were asked for.
//
//	asked ─▶ queued ─▶ building ─▶ done
//	           │           └─▶ waiting_confirm ─▶ …
//	           └─▶ withdrawn: cancelled, or a newer change of its name took its place
//
// A change waits while another is built and while a candidate waits for its confirmation. What can only let more pass does
// not wait for a candidate: a removal, and a bundle that relaxes (config.Relaxes). The candidate is then built again on the
// new set, with its deadline and its id.
//
// The queue is on disk: who left a change here expects it to come, also after an update of the agent.

// maxQueue bounds what waits. One a name waits, so this is as many names.
const maxQueue = 32

// wishOf reads what a rollout asks for. Faults of the bundle are told at once, whatever else waits.
func (a *agent) wishOf(r api.RolloutRequest, files api.Files, parse func(string, api.Files) (*config.Bundle, error)) (wish, error) {
	w := wish{remove: r.Remove}
	if r.Stored != "" {
		var err error
		if w.bundle, err = a.storedBundle(r.Stored); err == nil && r.Remove == w.bundle.Name {
			w.remove = ""
		}
		return w, err
	}
	if files == nil {
		if r.Remove == "" {
			return w, &api.Error{Code: api.CodeInvalid, Message: "the request has no bundle, and names none to take out"}
		}
		return w, nil
	}
	var err error
	if w.bundle, err = parse(r.Name, files); err != nil {
		return w, err
	}
	if r.Remove == w.bundle.Name { // it takes its own place
		w.remove = ""
	}
	return w, nil
}

// enqueue lets a rollout wait. One of the same name that waits already is withdrawn: it is older.
func (a *agent) enqueue(ro *rollout) error {
	a.rollouts.mu.Lock()
	defer a.rollouts.mu.Unlock()
	waiting := 0
	for _, other := range a.rollouts.all {
		if other == ro || other.State != api.RolloutQueued || !other.listed {
			continue
		}
		if slices.ContainsFunc(other.wish.names(), func(name string) bool { return slices.Contains(ro.wish.names(), name) }) {
			other.withdraw(a.now(), fmt.Sprintf("rollout %s of %s took its place", ro.ID, ro.By))
			continue
		}
		waiting++
	}
	if waiting >= maxQueue {
		return &api.Error{Code: api.CodeBusy, Message: fmt.Sprintf("%d changes wait already", waiting), Fix: "look at `spillway status`; cancel one with spillway cancel ID"}
	}
	ro.listed = true
	return nil
}

// withdraw ends a rollout that waits. The lock of rollouts is held.
func (ro *rollout) withdraw(at time.Time, why string) {
	ro.State, ro.Outcome, ro.Message, ro.Ended, ro.ended = api.RolloutWithdrawn, api.OutcomeRolledBack, why, at.UTC(), true
}

// runnable returns the rollout whose turn it is, and why the first one that waits must wait on.
func (a *agent) runnable() (next *rollout, why string) {
	a.rollouts.mu.Lock()
	var queued []*rollout
	for _, ro := range a.rollouts.all {
		switch {
		case ro.State == api.RolloutBuilding:
			why = fmt.Sprintf("rollout %s (%s) is built", ro.ID, ro.wish.name())
		case ro.State == api.RolloutQueued && ro.listed:
			queued = append(queued, ro)
		}
	}
	a.rollouts.mu.Unlock()
	if why != "" || len(queued) == 0 {
		return nil, why
	}
	d, done, err := a.plane.Use()
	if err != nil {
		return queued[0], "" // it is told what is wrong
	}
	defer done()
	if d.Control().Candidate == bpf.SlotEmpty {
		return queued[0], ""
	}
	for _, ro := range queued {
		if a.isFast(d, ro) {
			return ro, ""
		}
	}
	why = "a candidate waits for its confirmation"
	if c := a.ledger.Record().Confirm; c != nil {
		why = fmt.Sprintf("generation %d (%s) waits for its confirmation until %s", c.Number, c.Name(), c.Deadline.UTC().Format(time.RFC3339))
	}
	return nil, why
}

// isFast reports whether a rollout passes a candidate by: it can only let more pass.
func (a *agent) isFast(d plane.Dataplane, ro *rollout) bool {
	if ro.confirm > 0 {
		return false // it would be a second candidate
	}
	if ro.wish.bundle == nil || ro.wish.back {
		return true
	}
	all, err := d.Generations()
	if err != nil {
		return false
	}
	g, there := view.InSlot(all, d.Control().Stable)
	candidate, resident := view.InSlot(all, d.Control().Candidate)
	asked := [2]config.Digest{g.Digest, candidate.Digest}
	a.rollouts.mu.Lock()
	known, fast := ro.fastAsked == asked, ro.fast
	a.rollouts.mu.Unlock()
	if known {
		return fast
	}
	base, err := a.baseFor(g, there, ro.wish)
	if err != nil {
		return true // it is told what is wrong
	}
	next, err := ro.wish.on(base)
	if err != nil {
		return true
	}
	fast = config.Relaxes(base, next, a.now())
	if fast && resident { // it and the candidate may not be about one bundle: which of the two counts?
		c, err := a.ledger.Store().Set(candidate.Digest)
		fast = err == nil && !slices.ContainsFunc(ro.wish.names(), func(name string) bool { return config.Touches(base, c, name) })
	}
	a.rollouts.mu.Lock()
	defer a.rollouts.mu.Unlock()
	ro.fastAsked, ro.fast = asked, fast
	return fast
}

// claim takes a rollout out of the queue, if its turn is still now.
func (a *agent) claim(ro *rollout) bool {
	a.rollouts.mu.Lock()
	defer a.rollouts.mu.Unlock()
	for _, other := range a.rollouts.all {
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

// turn carries out a rollout if its turn is now; false: it waits.
func (a *agent) turn(ctx context.Context, ro *rollout) (*api.Rollout, error, bool) {
	next, _ := a.runnable()
	if next != ro || !a.claim(ro) {
		return nil, nil, false
	}
	_, done, err := a.begin()
	if err == errBusy {
		a.rollouts.advance(ro, api.RolloutQueued)
		return nil, nil, false
	}
	if err == nil {
		defer done()
		var c *api.Change
		c, err = a.applyBundle(ctx, ro)
		out, err := a.finishRollout(ro, c, err)
		a.saveQueue()
		return out, err, true
	}
	e := a.ledger.Entry(ro.by, ro.Kind, ro.Reason)
	e.Name = ro.wish.name()
	a.outcome(&e, nil, err)
	out, err := a.finishRollout(ro, nil, err)
	return out, err, true
}

// runQueue carries out what waits and may run. It is a job.
func (a *agent) runQueue() {
	for {
		next, _ := a.runnable()
		if next == nil {
			return
		}
		a.lookBeside()
		next.wentBack = a.wentBack.Load() // a rollback before was of something else
		if _, err, ran := a.turn(context.Background(), next); !ran {
			return
		} else if err != nil {
			a.log.Warn("a change that waited was not put into force", "rollout", next.ID, "name", next.Name, "error", err)
		}
	}
}

// queueDue reports whether something waits whose turn it is.
func (a *agent) queueDue() bool {
	next, _ := a.runnable()
	return next != nil
}

// waits tells the sender of a rollout that it waits, and writes the queue down.
func (a *agent) waits(ro *rollout) (*api.Rollout, error) {
	if b := ro.wish.bundle; b != nil {
		if err := a.ledger.Store().SaveBundle(b); err != nil {
			return a.finishRollout(ro, nil, fmt.Errorf("nothing changed, and it cannot wait: %w", err))
		}
	}
	_, why := a.runnable()
	if why == "" {
		why = "another change runs"
	}
	a.rollouts.mu.Lock()
	ro.Outcome = api.OutcomeQueued
	ro.Message = fmt.Sprintf("rollout %s waits for its turn: %s", ro.ID, why)
	out := ro.Rollout
	a.rollouts.mu.Unlock()
	e := a.ledger.Entry(ro.by, ro.Kind, ro.Reason)
	e.Name, e.Outcome, e.Detail = ro.wish.name(), api.OutcomeQueued, []string{"rollout " + ro.ID, why}
	if b := ro.wish.bundle; b != nil {
		e.Digest = b.Digest
	}
	a.ledger.Audit(e)
	a.saveQueue()
	return &out, nil
}

// saveQueue writes down what waits.
func (a *agent) saveQueue() {
	var queued []state.Queued
	a.rollouts.mu.Lock()
	for _, ro := range a.rollouts.all {
		if ro.State != api.RolloutQueued || !ro.listed {
			continue
		}
		q := state.Queued{Rollout: ro.ID, Remove: ro.wish.remove, Confirm: ro.confirm, Accept: ro.Accept, Reason: ro.Reason, At: ro.Created, UID: ro.by.UID, By: ro.by.User}
		if b := ro.wish.bundle; b != nil {
			q.Name, q.Digest = b.Name, b.Digest
		}
		queued = append(queued, q)
	}
	a.rollouts.mu.Unlock()
	if err := a.ledger.Store().SaveQueue(queued); err != nil {
		a.ledger.SetProblem(ledger.ProblemQueue, "what waits would be lost with this agent: "+err.Error(), "free or repair the disk; traffic does not need it")
		return
	}
	a.ledger.ClearProblem(ledger.ProblemQueue)
}

// loadQueue takes up what waited for a former agent.
func (a *agent) loadQueue() {
	queued, err := a.ledger.Store().Queue()
	if err != nil {
		a.ledger.SetProblem(ledger.ProblemQueue, "what waited for the agent before cannot be read: "+err.Error(), "apply it again; nothing of it came into force")
		return
	}
	for _, q := range queued {
		ro := &rollout{wish: wish{remove: q.Remove}, confirm: q.Confirm, by: api.Caller{UID: q.UID, User: q.By}, listed: true}
		ro.Rollout = api.Rollout{ID: q.Rollout, State: api.RolloutQueued, Kind: api.RolloutApply, By: q.By, Reason: q.Reason, Accept: q.Accept, Created: q.At,
			Change: api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeQueued, Name: q.Name, Message: "rollout " + q.Rollout + " waits for its turn; it waited for the agent before"}}
		if q.Name == "" {
			ro.Kind, ro.Name = api.RolloutRemove, q.Remove
		} else if ro.wish.bundle, err = a.ledger.Store().Bundle(q.Digest); err != nil {
			e := a.ledger.Entry(ro.by, ro.Kind, q.Reason)
			e.Name, e.Digest, e.Outcome, e.Detail = q.Name, q.Digest, api.OutcomeFailed, []string{"it waited, and is lost: " + err.Error()}
			a.ledger.Audit(e)
			ro.wish.bundle, ro.State, ro.Outcome, ro.Ended = nil, api.RolloutFailed, api.OutcomeFailed, a.now().UTC()
			ro.Message = "it waited, and is lost: " + err.Error()
		}
		if n, err := strconv.ParseUint(q.Rollout, 10, 64); err == nil {
			a.ledger.HadRollout(n)
		}
		a.rollouts.mu.Lock()
		a.rollouts.all = append(a.rollouts.all, ro)
		a.rollouts.mu.Unlock()
	}
}

// queuedDigests are of bundles that wait: they stay on disk.
func (a *agent) queuedDigests() []config.Digest {
	a.rollouts.mu.Lock()
	defer a.rollouts.mu.Unlock()
	var out []config.Digest
	for _, ro := range a.rollouts.all {
		if ro.State == api.RolloutQueued && ro.wish.bundle != nil {
			out = append(out, ro.wish.bundle.Digest)
		}
	}
	return out
}

// tellQueue adds to status what waits.
func (a *agent) tellQueue(s *api.Status) {
	_, why := a.runnable()
	a.rollouts.mu.Lock()
	defer a.rollouts.mu.Unlock()
	for _, ro := range a.rollouts.all {
		if ro.State != api.RolloutQueued || !ro.listed {
			continue
		}
		q := api.Queued{ID: ro.ID, Kind: ro.Kind, Name: ro.wish.name(), By: ro.By, Reason: ro.Reason, Since: ro.Created, Waits: why}
		if ro.wish.bundle != nil {
			q.Digest, q.Remove = ro.wish.bundle.Digest, strings.TrimSpace(ro.wish.remove)
		}
		s.Queue = append(s.Queue, q)
	}
}
