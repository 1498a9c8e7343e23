// SPDX-License-Identifier: Apache-2.0

package release

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
func (mg *Manager) wishOf(r api.RolloutRequest, files api.Files, parse func(string, api.Files) (*config.Bundle, error)) (wish, error) {
	w := wish{remove: r.Remove}
	if r.Stored != "" {
		var err error
		if w.bundle, err = mg.storedBundle(r.Stored); err == nil && r.Remove == w.bundle.Name {
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
func (mg *Manager) enqueue(ro *rollout) error {
	mg.rollouts.mu.Lock()
	defer mg.rollouts.mu.Unlock()
	waiting := 0
	for _, other := range mg.rollouts.all {
		if other == ro || other.State != api.RolloutQueued || !other.listed {
			continue
		}
		if slices.ContainsFunc(other.wish.names(), func(name string) bool { return slices.Contains(ro.wish.names(), name) }) {
			other.withdraw(mg.Ledger.Now(), fmt.Sprintf("rollout %s of %s took its place", ro.ID, ro.By))
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
func (mg *Manager) runnable() (next *rollout, why string) {
	mg.rollouts.mu.Lock()
	var queued []*rollout
	for _, ro := range mg.rollouts.all {
		switch {
		case ro.State == api.RolloutBuilding:
			why = fmt.Sprintf("rollout %s (%s) is built", ro.ID, ro.wish.name())
		case ro.State == api.RolloutQueued && ro.listed:
			queued = append(queued, ro)
		}
	}
	mg.rollouts.mu.Unlock()
	if why != "" || len(queued) == 0 {
		return nil, why
	}
	d, done, err := mg.Use()
	if err != nil {
		return queued[0], "" // it is told what is wrong
	}
	defer done()
	if d.Control().Candidate == bpf.SlotEmpty {
		return queued[0], ""
	}
	for _, ro := range queued {
		if mg.isFast(d, ro) {
			return ro, ""
		}
	}
	why = "a candidate waits for its confirmation"
	if c := mg.Ledger.Record().Confirm; c != nil {
		why = fmt.Sprintf("generation %d (%s) waits for its confirmation until %s", c.Number, c.Name(), c.Deadline.UTC().Format(time.RFC3339))
	}
	return nil, why
}

// isFast reports whether a rollout passes a candidate by: it can only let more pass.
func (mg *Manager) isFast(d Kernel, ro *rollout) bool {
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
	mg.rollouts.mu.Lock()
	known, fast := ro.fastAsked == asked, ro.fast
	mg.rollouts.mu.Unlock()
	if known {
		return fast
	}
	base, err := mg.baseFor(g, there, ro.wish)
	if err != nil {
		return true // it is told what is wrong
	}
	next, err := ro.wish.on(base)
	if err != nil {
		return true
	}
	fast = config.Relaxes(base, next, mg.Ledger.Now())
	if fast && resident { // it and the candidate may not be about one bundle: which of the two counts?
		c, err := mg.Disk.Set(candidate.Digest)
		fast = err == nil && !slices.ContainsFunc(ro.wish.names(), func(name string) bool { return config.Touches(base, c, name) })
	}
	mg.rollouts.mu.Lock()
	defer mg.rollouts.mu.Unlock()
	ro.fastAsked, ro.fast = asked, fast
	return fast
}

// claim takes a rollout out of the queue, if its turn is still now.
func (mg *Manager) claim(ro *rollout) bool {
	mg.rollouts.mu.Lock()
	defer mg.rollouts.mu.Unlock()
	for _, other := range mg.rollouts.all {
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
func (mg *Manager) turn(ctx context.Context, ro *rollout) (*api.Rollout, error, bool) {
	next, _ := mg.runnable()
	if next != ro || !mg.claim(ro) {
		return nil, nil, false
	}
	_, done, err := mg.Begin()
	if err == errBusy {
		mg.rollouts.advance(ro, api.RolloutQueued)
		return nil, nil, false
	}
	if err == nil {
		defer done()
		var c *api.Change
		c, err = mg.applyBundle(ctx, ro)
		out, err := mg.finishRollout(ro, c, err)
		mg.saveQueue()
		return out, err, true
	}
	e := mg.Ledger.Entry(ro.by, ro.Kind, ro.Reason)
	e.Name = ro.wish.name()
	mg.outcome(&e, nil, err)
	out, err := mg.finishRollout(ro, nil, err)
	return out, err, true
}

// RunQueue carries out what waits and may run. It is a job.
func (mg *Manager) RunQueue() {
	for {
		next, _ := mg.runnable()
		if next == nil {
			return
		}
		mg.lookBeside()
		next.wentBack = mg.wentBack.Load() // a rollback before was of something else
		if _, err, ran := mg.turn(context.Background(), next); !ran {
			return
		} else if err != nil {
			mg.Log.Warn("a change that waited was not put into force", "rollout", next.ID, "name", next.Name, "error", err)
		}
	}
}

// QueueDue reports whether something waits whose turn it is.
func (mg *Manager) QueueDue() bool {
	next, _ := mg.runnable()
	return next != nil
}

// waits tells the sender of a rollout that it waits, and writes the queue down.
func (mg *Manager) waits(ro *rollout) (*api.Rollout, error) {
	if b := ro.wish.bundle; b != nil {
		if err := mg.Disk.SaveBundle(b); err != nil {
			return mg.finishRollout(ro, nil, fmt.Errorf("nothing changed, and it cannot wait: %w", err))
		}
	}
	_, why := mg.runnable()
	if why == "" {
		why = "another change runs"
	}
	mg.rollouts.mu.Lock()
	ro.Outcome = api.OutcomeQueued
	ro.Message = fmt.Sprintf("rollout %s waits for its turn: %s", ro.ID, why)
	out := ro.Rollout
	mg.rollouts.mu.Unlock()
	e := mg.Ledger.Entry(ro.by, ro.Kind, ro.Reason)
	e.Name, e.Outcome, e.Detail = ro.wish.name(), api.OutcomeQueued, []string{"rollout " + ro.ID, why}
	if b := ro.wish.bundle; b != nil {
		e.Digest = b.Digest
	}
	mg.Ledger.Audit(e)
	mg.saveQueue()
	return &out, nil
}

// saveQueue writes down what waits.
func (mg *Manager) saveQueue() {
	var queued []state.Queued
	mg.rollouts.mu.Lock()
	for _, ro := range mg.rollouts.all {
		if ro.State != api.RolloutQueued || !ro.listed {
			continue
		}
		q := state.Queued{Rollout: ro.ID, Remove: ro.wish.remove, Confirm: ro.confirm, Accept: ro.Accept, Reason: ro.Reason, At: ro.Created, UID: ro.by.UID, By: ro.by.User}
		if b := ro.wish.bundle; b != nil {
			q.Name, q.Digest = b.Name, b.Digest
		}
		queued = append(queued, q)
	}
	mg.rollouts.mu.Unlock()
	if err := mg.Disk.SaveQueue(queued); err != nil {
		mg.Ledger.SetProblem(ledger.ProblemQueue, "what waits would be lost with this agent: "+err.Error(), "free or repair the disk; traffic does not need it")
		return
	}
	mg.Ledger.ClearProblem(ledger.ProblemQueue)
}

// loadQueue takes up what waited for a former agent.
func (mg *Manager) loadQueue() {
	queued, err := mg.Disk.Queue()
	if err != nil {
		mg.Ledger.SetProblem(ledger.ProblemQueue, "what waited for the agent before cannot be read: "+err.Error(), "apply it again; nothing of it came into force")
		return
	}
	for _, q := range queued {
		ro := &rollout{wish: wish{remove: q.Remove}, confirm: q.Confirm, by: api.Caller{UID: q.UID, User: q.By}, listed: true}
		ro.Rollout = api.Rollout{ID: q.Rollout, State: api.RolloutQueued, Kind: api.RolloutApply, By: q.By, Reason: q.Reason, Accept: q.Accept, Created: q.At,
			Change: api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeQueued, Name: q.Name, Message: "rollout " + q.Rollout + " waits for its turn; it waited for the agent before"}}
		if q.Name == "" {
			ro.Kind, ro.Name = api.RolloutRemove, q.Remove
		} else if ro.wish.bundle, err = mg.Disk.Bundle(q.Digest); err != nil {
			e := mg.Ledger.Entry(ro.by, ro.Kind, q.Reason)
			e.Name, e.Digest, e.Outcome, e.Detail = q.Name, q.Digest, api.OutcomeFailed, []string{"it waited, and is lost: " + err.Error()}
			mg.Ledger.Audit(e)
			ro.wish.bundle, ro.State, ro.Outcome, ro.Ended = nil, api.RolloutFailed, api.OutcomeFailed, mg.Ledger.Now().UTC()
			ro.Message = "it waited, and is lost: " + err.Error()
		}
		if n, err := strconv.ParseUint(q.Rollout, 10, 64); err == nil {
			mg.Ledger.HadRollout(n)
		}
		mg.rollouts.mu.Lock()
		mg.rollouts.all = append(mg.rollouts.all, ro)
		mg.rollouts.mu.Unlock()
	}
}

// queuedDigests are of bundles that wait: they stay on disk.
func (mg *Manager) queuedDigests() []config.Digest {
	mg.rollouts.mu.Lock()
	defer mg.rollouts.mu.Unlock()
	var out []config.Digest
	for _, ro := range mg.rollouts.all {
		if ro.State == api.RolloutQueued && ro.wish.bundle != nil {
			out = append(out, ro.wish.bundle.Digest)
		}
	}
	return out
}

// TellQueue adds to status what waits.
func (mg *Manager) TellQueue(s *api.Status) {
	_, why := mg.runnable()
	mg.rollouts.mu.Lock()
	defer mg.rollouts.mu.Unlock()
	for _, ro := range mg.rollouts.all {
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
