// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

const (
	// canaryAll: until there is a rollout, a candidate decides for everybody.
	canaryAll = 1000
	// quarantineFor is how long a bundle that was rolled back needs a reason to come again.
	quarantineFor = 24 * time.Hour
)

var errBusy = &api.Error{Code: api.CodeBusy, Message: "another change is running", Fix: "wait until it is done; `spillway status` shows it"}

// changePatience is how long a change waits for another one. The agent's own tick holds the lock for a moment each
// second, and nobody's rollback may fail because of that; a bundle that is being built takes longer.
const changePatience = 2 * time.Second

// begin takes the change lock and the dataplane.
func (a *agent) begin() (plane.Dataplane, func(), error) {
	for deadline := time.Now().Add(changePatience); !a.change.TryLock(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return nil, nil, errBusy
		}
	}
	d, done, err := a.plane.Use()
	if err != nil {
		a.change.Unlock()
		return nil, nil, err
	}
	return d, func() { done(); a.change.Unlock() }, nil
}

// parseAlone is parse, one at a time.
func (a *agent) parseAlone(name string, files api.Files) (*config.Bundle, error) {
	a.parsing.Lock()
	defer a.parsing.Unlock()
	return a.parse(name, files)
}

// parse validates a bundle as this host must see it. The lock parsing is held: a large bundle takes memory.
func (a *agent) parse(name string, files api.Files) (*config.Bundle, error) {
	own, err := a.opts.own()
	if err != nil {
		return nil, err // without them a bundle could block this host
	}
	if name == "" {
		name = config.BundleFile
	}
	b, err := config.ParseBundle(name, files[config.BundleFile], files, a.hostFile(), config.BundleOptions{Own: own, Now: a.now()})
	if err != nil {
		return nil, api.Refuse("the bundle is refused; what is in force goes on", err)
	}
	return b, nil
}

// applyBundle carries out a rollout whose turn it is, with its line of the history.
func (a *agent) applyBundle(ctx context.Context, ro *rollout) (*api.Change, error) {
	e := a.ledger.Entry(ro.by, ro.Kind, ro.Reason)
	e.Name = ro.wish.name()
	if ro.wish.bundle != nil {
		e.Digest = ro.wish.bundle.Digest
	}
	if ro.Accept != "" {
		e.Detail = append(e.Detail, "accepted: "+ro.Accept)
	}
	c, err := a.apply(ctx, &e, ro)
	a.outcome(&e, c, err)
	return c, err
}

// outcome writes down how an apply went.
func (a *agent) outcome(e *state.Entry, c *api.Change, err error) {
	if err != nil {
		e.Outcome = ledger.OutcomeOf(err)
		e.Detail = append(e.Detail, ledger.DetailsOf(err)...)
	} else {
		e.Outcome = c.Outcome
	}
	a.mu.Lock()
	a.applies[e.Outcome]++
	a.mu.Unlock()
	a.ledger.Audit(*e)
}

// apply is a rollout from its wish to what is in force. The change lock is held.
func (a *agent) apply(ctx context.Context, e *state.Entry, ro *rollout) (*api.Change, error) {
	d, done, err := a.plane.Use()
	if err != nil {
		return nil, err
	}
	defer done()
	seen := mark{epoch: d.Control().Epoch, wentBack: ro.wentBack, rollout: ro}
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	change := &api.Change{Envelope: api.NewEnvelope(), Name: ro.wish.name()}
	if b := ro.wish.bundle; b != nil {
		change.Digest, change.Warnings = b.Digest, b.Warnings
	}
	a.lookBeside()
	if a.wentBack.Load() != seen.wentBack {
		return nil, errWentBack
	}
	if err := a.protects(ro); err != nil {
		return nil, err
	}
	s, err := a.standing(d, ro.wish)
	if err != nil {
		return nil, err
	}
	change.Set = memberList(s.next)
	change.Details = append(change.Details, s.next.Warnings()...)
	if s.unchanged(change) {
		return change, nil
	}
	if err := a.held(ro.wish, s, ro.Accept); err != nil {
		return nil, err
	}
	if err := a.ledger.Store().SaveSet(s.next); err != nil {
		return nil, fmt.Errorf("nothing changed: %w", err)
	}
	if s.waiting {
		return change, a.passBy(ctx, d, seen, s, change, e, ro)
	}
	slot, number, err := a.buildSet(d, s.next)
	if err != nil {
		return nil, a.buildError(err)
	}
	e.Number, change.Number = number, number
	if err := a.publishBuilt(ctx, d, seen, s.next, slot, change, e, ro.confirm); err != nil {
		return nil, err
	}
	if ro.confirm == 0 {
		a.prune(d)
	}
	return change, nil
}

// protects refuses a bundle whose own rows would block what this host protects since the bundle was read: the host file was
// reloaded while it waited, and what it says now counts.
func (a *agent) protects(ro *rollout) error {
	h := a.hostFile()
	if ro.wish.bundle == nil || ro.host == h {
		return nil
	}
	own, err := a.opts.own()
	if err != nil {
		return err
	}
	if p, in, found := ro.wish.bundle.InProtected(config.Protected(h, own)); found {
		return &api.Error{Code: api.CodeRefused, Message: fmt.Sprintf("the bundle is refused; what is in force goes on: its own row %s lies in %s, which this host protects", p, in),
			Fix: "a bundle without that row, or a host file that does not protect it"}
	}
	return nil
}

// buildSet builds a set for the host file in force, and leaves the slots beside it as they are.
func (a *agent) buildSet(d plane.Dataplane, set *config.Set, beside ...uint8) (slot uint8, number uint32, err error) {
	h := a.hostFile()
	host, err := plane.CompileHost(d, h, 0)
	if err != nil {
		return 0, 0, fmt.Errorf("compile host file: %w", err)
	}
	return a.build(d, set.Merge(), h, host, beside...)
}

func memberList(set *config.Set) []config.Member {
	if len(set.Bundles) < 2 {
		return nil // with one bundle all of it is in the reply
	}
	return set.Members()
}

// mark is what a builder saw when it began.
type mark struct {
	epoch    uint32
	wentBack uint64
	rollout  *rollout
}

var errWentBack = &api.Error{Code: api.CodeConflict, Message: "somebody rolled back meanwhile, so this is not published", Fix: "look at `spillway history`, then ask again"}

// moved refuses to publish what was built for another state: somebody went back meanwhile, and meant it. The swap lock
// is held.
func (a *agent) moved(d plane.Dataplane, seen mark) error {
	switch {
	case a.rollouts.isEnded(seen.rollout):
		return &api.Error{Code: api.CodeCancelled, Message: "somebody ended this rollout meanwhile, so it is not published", Fix: "look at `spillway history`, then ask again"}
	case a.wentBack.Load() != seen.wentBack:
		return errWentBack
	case d.Control().Epoch != seen.epoch:
		return &api.Error{Code: api.CodeConflict, Message: "somebody else changed the control word meanwhile; nothing changed", Fix: "look at `spillway status`, then ask again"}
	}
	return nil
}

// publishBuilt is the moment of an apply: what was built counts from here on, if its sender still waits for it and nobody
// rolled back since.
func (a *agent) publishBuilt(ctx context.Context, d plane.Dataplane, seen mark, set *config.Set, slot uint8, change *api.Change, e *state.Entry, confirm time.Duration) error {
	a.swap.Lock()
	defer a.swap.Unlock()
	if err := a.moved(d, seen); err != nil {
		return err
	}
	if err := api.Late(ctx); err != nil {
		return err
	}
	if confirm > 0 {
		return a.publishCandidate(d, seen.epoch, set, slot, change, e, seen.rollout.ID, confirm)
	}
	return a.publishStable(d, seen, set, slot, change, e)
}

// buildError tells a bundle that does not fit from a kernel that failed.
func (a *agent) buildError(err error) error {
	if errors.Is(err, loader.ErrCapacity) {
		return &api.Error{Code: api.CodeRefused, Message: "the bundle is refused; what is in force goes on: " + err.Error(), Fix: ledger.Fix(err)}
	}
	return fmt.Errorf("nothing changed: %w", err)
}

func (a *agent) publishStable(d plane.Dataplane, seen mark, set *config.Set, slot uint8, change *api.Change, e *state.Entry) error {
	if _, err := d.Publish(loader.Change{Stable: &slot, Seen: &seen.epoch}); err != nil {
		return a.publishError(err)
	}
	a.nowStable(d, set, seen.rollout.leaves, change, e)
	return nil
}

// nowStable says and writes down that a set is in force.
func (a *agent) nowStable(d plane.Dataplane, set *config.Set, leaves *state.Member, change *api.Change, e *state.Entry) {
	bake := a.hostFile().Guards.Bake
	change.Outcome, change.BakeUntil = api.OutcomeApplied, a.now().Add(bake).UTC()
	v := a.plane.Verdict(d)
	change.Message = view.InForce(v, change.Number)
	change.Incomplete = v.Unknown
	if waits := a.idleReason(d); waits != "" {
		change.Message += "; it bakes to last-known-good once " + waits
	} else {
		change.Message += fmt.Sprintf("; last-known-good in %s unless it is rolled back", api.Short(bake))
	}
	g := generation(set, e.Number, e.At, e.User)
	ledger.Note(change, a.ledger.Update(func(r *state.Record) {
		r.Apply(g, change.BakeUntil)
		if leaves != nil {
			r.AddQuarantine(quarantined(leaves.Name, leaves.Digest, e))
		}
	}))
	if leaves != nil {
		change.Message += fmt.Sprintf("; the version of %s that was left needs a reason to come back", leaves.Name)
		a.countRollback()
	}
}

func (a *agent) prune(d plane.Dataplane) {
	keep := append(a.ledger.Record().References(), a.queuedDigests()...)
	if all, err := d.Generations(); err == nil {
		for _, g := range all {
			keep = append(keep, g.Digest)
		}
	}
	if err := a.ledger.Store().Prune(keep); err != nil {
		a.log.Warn("old bundles stay", "error", err)
	}
}
