// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// KeptRollouts is how many rollouts that are over can be asked for; older ones are in the history.
const KeptRollouts = 100

// rollouts are the changes of the bundles in force, in the order in which they were asked for: those of this agent's life,
// and one that a former agent left waiting for its confirmation.
type rollouts struct {
	mu  sync.Mutex
	all []*rollout
}

// rollout is one of them. Its fields belong to the lock of rollouts.
type rollout struct {
	api.Rollout
	ended  bool // by hand: it is not published any more
	listed bool // it has its place in the queue

	// These are of who asked, and belong to who carries it out.
	wish     wish
	confirm  time.Duration
	by       api.Caller
	wentBack uint64        // rollbacks that it knows of
	host     *config.Host  // by which the bundle was read
	leaves   *state.Member // what a rollback of one bundle leaves: it goes into quarantine
	// fast is the answer to whether it passes by a candidate, for these two generations.
	fast      bool
	fastAsked [2]config.Digest
}

// begin takes a new rollout up.
func (mg *Manager) beginRollout(by api.Caller, r api.RolloutRequest) *rollout {
	id := mg.Ledger.NextRollout()
	ro := &rollout{by: by, host: mg.Host(), confirm: r.Confirm(), wentBack: mg.wentBack.Load(), Rollout: api.Rollout{Change: api.Change{Envelope: api.NewEnvelope(), Name: r.Remove}, ID: id, State: api.RolloutQueued, Kind: api.RolloutApply,
		Key: r.Key, By: by.User, Reason: r.Reason, Accept: r.Accept, Created: mg.Ledger.Now().UTC()}}
	if r.Remove != "" {
		ro.Kind = api.RolloutRemove
	}
	mg.rollouts.mu.Lock()
	defer mg.rollouts.mu.Unlock()
	mg.rollouts.all = append(mg.rollouts.all, ro)
	over := 0
	for _, o := range mg.rollouts.all {
		if o.Over() {
			over++
		}
	}
	mg.rollouts.all = slices.DeleteFunc(mg.rollouts.all, func(o *rollout) bool {
		if !o.Over() || over <= KeptRollouts {
			return false
		}
		over--
		return true
	})
	return ro
}

// advance says how far a rollout is.
func (r *rollouts) advance(ro *rollout, state string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ro.State = state
}

// isEnded reports whether somebody ended the rollout before it was published.
func (r *rollouts) isEnded(ro *rollout) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return ro != nil && ro.ended
}

// finish writes down what became of a rollout, and returns it.
func (mg *Manager) finishRollout(ro *rollout, c *api.Change, err error) (*api.Rollout, error) {
	mg.rollouts.mu.Lock()
	defer mg.rollouts.mu.Unlock()
	if err != nil {
		var e *api.Error
		if !errors.As(err, &e) {
			e = &api.Error{Code: api.CodeInternal, Message: err.Error()}
		}
		refusal := *e // errors are shared
		refusal.Rollout = ro.ID
		ro.State, ro.Outcome, ro.Message, ro.Refusal, ro.Ended = stateOf(e, ro.ended), ledger.OutcomeOf(err), e.Message, &refusal, mg.Ledger.Now().UTC()
		return nil, &refusal
	}
	ro.Change = *c
	ro.State = api.RolloutWaiting
	if c.Outcome != api.OutcomeCandidate {
		ro.State, ro.Ended = api.RolloutDone, mg.Ledger.Now().UTC()
	}
	out := ro.Rollout
	return &out, nil
}

func stateOf(e *api.Error, ended bool) string {
	switch {
	case ended, e.Code == api.CodeCancelled:
		return api.RolloutWithdrawn
	case e.Code == api.CodeRefused:
		return api.RolloutRefused
	case e.Code == api.CodeHeld:
		return api.RolloutHeld
	}
	return api.RolloutFailed
}

// StartRollout asks for a change of the set in force. What must wait is answered at once, and waits.
func (mg *Manager) StartRollout(ctx context.Context, by api.Caller, r api.RolloutRequest, files api.Files) (*api.Rollout, error) {
	ro := mg.beginRollout(by, r)
	if files != nil || r.Stored != "" {
		ro.Kind = api.RolloutApply
	}
	w, err := mg.wishOf(r, files, mg.parseAlone)
	if err == nil {
		ro.wish = w
		mg.rollouts.name(ro)
		err = api.Late(ctx)
	}
	if err == nil {
		if c := mg.isCandidate(w); c != nil {
			return mg.finishRollout(ro, c, nil)
		}
		err = mg.enqueue(ro)
	}
	if err != nil {
		e := mg.Ledger.Entry(by, ro.Kind, r.Reason)
		e.Name = w.name()
		mg.outcome(&e, nil, err)
		return mg.finishRollout(ro, nil, err)
	}
	if out, err, ran := mg.turn(ctx, ro); ran {
		return out, err
	}
	return mg.waits(ro)
}

// isCandidate says that what is asked for is the candidate already; nil when it is not.
func (mg *Manager) isCandidate(w wish) *api.Change {
	r := mg.Ledger.Record()
	if r.Confirm == nil || w.bundle == nil || r.Applied != nil && slices.ContainsFunc(r.Applied.Members, w.is) || !slices.ContainsFunc(r.Confirm.Members, w.is) {
		return nil
	}
	return &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeUnchanged, Digest: w.bundle.Digest, Name: w.bundle.Name, Number: r.Confirm.Number,
		Deadline: r.Confirm.Deadline, Message: "this bundle is the candidate already and waits for `spillway confirm`", Warnings: w.bundle.Warnings}
}

// is reports whether a member of a set is the wish's bundle.
func (w wish) is(m state.Member) bool { return m.Name == w.bundle.Name && m.Digest == w.bundle.Digest }

// name gives a rollout the name and digest of what it is about.
func (r *rollouts) name(ro *rollout) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ro.Name = ro.wish.name()
	if ro.wish.bundle != nil {
		ro.Digest = ro.wish.bundle.Digest
	}
}

// renumber lets a rollout follow its candidate, which was built again.
func (r *rollouts) renumber(before, next *state.Confirm) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ro := range r.all {
		if ro.State == api.RolloutWaiting && isOf(before, &ro.Rollout) {
			ro.Number = next.Number
			ro.Message = fmt.Sprintf("generation %d decides now, and goes back by itself unless `spillway confirm` keeps it", next.Number)
		}
	}
}

// Bundles lists the set in force.
func (mg *Manager) Bundles(context.Context) (*api.BundleList, error) {
	list := &api.BundleList{Envelope: api.NewEnvelope(), Bundles: []api.Bundle{}}
	g := mg.InForce()
	if g == nil {
		return list, nil
	}
	policy, by := mg.policyOf(g.Digest), ""
	if r := mg.Ledger.Record().Applied; r != nil && r.Number == g.Number {
		by = r.By
	}
	for _, m := range mg.Ledger.MembersOf(g.Digest) {
		list.Bundles = append(list.Bundles, api.Bundle{Name: m.Name, Digest: m.Digest, Number: g.Number, Since: g.At.UTC(), By: by, Policy: m.Name == policy})
	}
	return list, nil
}

// policyOf returns the name of the bundle that has the policy; "" when none has, or nobody here knows.
func (mg *Manager) policyOf(d config.Digest) string {
	known, _ := mg.Ledger.Record().Known(d)
	for _, m := range known.Members {
		if m.Policy {
			return m.Name
		}
	}
	if set, err := mg.Disk.Set(d); err == nil && set.Policy() != nil { // a record of before
		return set.Policy().Name
	}
	return ""
}

// Rollouts lists the changes, the newest first.
func (mg *Manager) Rollouts(context.Context) (*api.RolloutList, error) {
	mg.settleRollouts()
	mg.rollouts.mu.Lock()
	defer mg.rollouts.mu.Unlock()
	list := &api.RolloutList{Envelope: api.NewEnvelope(), Rollouts: []api.Rollout{}}
	for _, ro := range slices.Backward(mg.rollouts.all) {
		list.Rollouts = append(list.Rollouts, ro.Rollout)
	}
	return list, nil
}

// settleRollouts lets the rollouts follow the record: a confirmation, a rollback, a deadline, or somebody without an agent
// may have ended one; and a former agent may have left one.
func (mg *Manager) settleRollouts() {
	r := mg.Ledger.Record()
	mg.rollouts.mu.Lock()
	defer mg.rollouts.mu.Unlock()
	known := false
	for _, ro := range mg.rollouts.all {
		same := r.Confirm != nil && isOf(r.Confirm, &ro.Rollout)
		known = known || same
		switch {
		case ro.State != api.RolloutWaiting || same:
		case r.Applied != nil && r.Applied.Number == ro.Number:
			ro.State, ro.Outcome, ro.Ended = api.RolloutDone, api.OutcomeApplied, mg.Ledger.Now().UTC()
			ro.Message = fmt.Sprintf("generation %d was confirmed", ro.Number)
		case r.Held != nil && r.Held.Number == ro.Number:
			ro.State, ro.Outcome, ro.Ended, ro.Message = api.RolloutHeld, api.OutcomeHeld, mg.Ledger.Now().UTC(), r.Held.Reason
		default:
			ro.State, ro.Outcome, ro.Ended = api.RolloutWithdrawn, api.OutcomeRolledBack, mg.Ledger.Now().UTC()
			ro.Message = fmt.Sprintf("generation %d went back", ro.Number)
		}
	}
	if c := r.Confirm; c != nil && !known {
		mg.rollouts.all = append(mg.rollouts.all, leftRollout(c))
	}
}

// isOf reports whether a candidate of the record is a rollout's.
func isOf(c *state.Confirm, ro *api.Rollout) bool {
	return c.Rollout == ro.ID || c.Rollout == "" && c.Number == ro.Number
}

// leftRollout is a candidate of a former agent.
func leftRollout(c *state.Confirm) *rollout {
	id := c.Rollout
	if id == "" { // of a record that had no rollouts yet
		id = "g" + strconv.FormatUint(uint64(c.Number), 10)
	}
	return &rollout{Rollout: api.Rollout{ID: id, State: api.RolloutWaiting, Kind: api.RolloutApply, By: c.By, Created: c.At.UTC(),
		Change: api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeCandidate, Digest: c.Digest, Name: c.Name(), Number: c.Number, Deadline: c.Deadline,
			Message: fmt.Sprintf("generation %d decides now, and goes back by itself unless `spillway confirm` keeps it", c.Number)}}}
}

// findRollout returns a rollout as it is now.
func (mg *Manager) findRollout(id string) (*rollout, api.Rollout, error) {
	mg.settleRollouts()
	mg.rollouts.mu.Lock()
	defer mg.rollouts.mu.Unlock()
	for _, ro := range mg.rollouts.all {
		if ro.ID == id {
			return ro, ro.Rollout, nil
		}
	}
	return nil, api.Rollout{}, api.NoRollout(id)
}

// EndRollout ends a rollout. It waits for no apply that runs: what is being built is not published.
func (mg *Manager) EndRollout(ctx context.Context, by api.Caller, id, reason string) (*api.Change, error) {
	d, done, err := mg.Use()
	if err != nil {
		return nil, err
	}
	defer done()
	mg.swap.Lock()
	defer mg.swap.Unlock()
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	ro, now, err := mg.findRollout(id)
	if err != nil {
		return nil, err
	}
	e := mg.Ledger.Entry(by, "withdraw", reason)
	change, err := mg.endRollout(d, ro, now, &e)
	if err != nil {
		return nil, err
	}
	e.Outcome = api.OutcomeDone
	mg.Ledger.Audit(e)
	return change, nil
}

// endRollout ends a rollout. The swap lock is held, so nothing is published meanwhile.
func (mg *Manager) endRollout(d Kernel, ro *rollout, now api.Rollout, e *state.Entry) (*api.Change, error) {
	if now.Over() {
		return nil, &api.Error{Code: api.CodeConflict, Message: fmt.Sprintf("rollout %s is over: %s", now.ID, now.State), Fix: "to go back: spillway rollback"}
	}
	if now.State != api.RolloutWaiting {
		mg.rollouts.mu.Lock()
		ro.ended = true
		if ro.State == api.RolloutQueued {
			ro.withdraw(mg.Ledger.Now(), "cancelled by "+e.User)
		}
		mg.rollouts.mu.Unlock()
		mg.saveQueue()
		e.Name, e.Detail = now.Name, []string{"rollout " + now.ID}
		return &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Name: now.Name, Message: fmt.Sprintf("rollout %s is cancelled: nothing of it comes into force", now.ID)}, nil
	}
	g, ok := mg.candidate(d)
	if !ok || g.Number != now.Number {
		return nil, &api.Error{Code: api.CodeConflict, Message: fmt.Sprintf("generation %d is no candidate any more", now.Number), Fix: "look at `spillway status`"}
	}
	b := &state.Back{At: e.At, UID: e.UID, By: e.User, Reason: e.Reason}
	change, err := mg.endCandidate(d, g, b)
	if err == nil {
		bake := mg.Host().Guards.Bake
		e.Digest, e.Number, e.Name = change.Digest, change.Number, change.Name
		ledger.Note(change, mg.Ledger.Update(func(r *state.Record) { r.GoBack(*b, bake) }))
		mg.wentBack.Add(1)
		mg.countRollback()
	}
	return change, err
}

// candidate returns the generation in the candidate's slot.
func (mg *Manager) candidate(d Kernel) (loader.GenerationInfo, bool) {
	slot := d.Control().Candidate
	if slot == bpf.SlotEmpty {
		return loader.GenerationInfo{}, false
	}
	all, err := d.Generations()
	if err != nil {
		return loader.GenerationInfo{}, false
	}
	return view.InSlot(all, slot)
}
