// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/ledger"
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

// Begin takes the change lock and the dataplane.
func (mg *Manager) Begin() (Kernel, func(), error) {
	for deadline := time.Now().Add(changePatience); !mg.change.TryLock(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return nil, nil, errBusy
		}
	}
	d, done, err := mg.Use()
	if err != nil {
		mg.change.Unlock()
		return nil, nil, err
	}
	return d, func() { done(); mg.change.Unlock() }, nil
}

// parseAlone is parse, one at a time.
func (mg *Manager) parseAlone(name string, files api.Files) (*config.Bundle, error) {
	mg.parsing.Lock()
	defer mg.parsing.Unlock()
	return mg.parse(name, files)
}

// parse validates a bundle as this host must see it. The lock parsing is held: a large bundle takes memory.
func (mg *Manager) parse(name string, files api.Files) (*config.Bundle, error) {
	own, err := mg.Own()
	if err != nil {
		return nil, err // without them a bundle could block this host
	}
	if name == "" {
		name = config.BundleFile
	}
	b, err := config.ParseBundle(name, files[config.BundleFile], files, mg.Host(), config.BundleOptions{Own: own, Now: mg.Ledger.Now()})
	if err != nil {
		return nil, api.Refuse("the bundle is refused; what is in force goes on", err)
	}
	return b, nil
}

// applyBundle carries out a rollout whose turn it is, with its line of the history.
func (mg *Manager) applyBundle(ctx context.Context, ro *rollout) (*api.Change, error) {
	e := mg.Ledger.Entry(ro.by, ro.Kind, ro.Reason)
	e.Name = ro.wish.name()
	if ro.wish.bundle != nil {
		e.Digest = ro.wish.bundle.Digest
	}
	if ro.Accept != "" {
		e.Detail = append(e.Detail, "accepted: "+ro.Accept)
	}
	c, err := mg.apply(ctx, &e, ro)
	mg.outcome(&e, c, err)
	return c, err
}

// outcome writes down how an apply went.
func (mg *Manager) outcome(e *state.Entry, c *api.Change, err error) {
	if err != nil {
		e.Outcome = ledger.OutcomeOf(err)
		e.Detail = append(e.Detail, ledger.DetailsOf(err)...)
	} else {
		e.Outcome = c.Outcome
	}
	mg.tally.applied(e.Outcome)
	mg.Ledger.Audit(*e)
}

// apply is a rollout from its wish to what is in force. The change lock is held.
func (mg *Manager) apply(ctx context.Context, e *state.Entry, ro *rollout) (*api.Change, error) {
	d, done, err := mg.Use()
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
	mg.lookBeside()
	if mg.wentBack.Load() != seen.wentBack {
		return nil, errWentBack
	}
	if err := mg.protects(ro); err != nil {
		return nil, err
	}
	s, err := mg.standing(d, ro.wish)
	if err != nil {
		return nil, err
	}
	change.Set = memberList(s.next)
	change.Details = append(change.Details, s.next.Warnings()...)
	if s.unchanged(change) {
		return change, nil
	}
	if err := mg.held(ro.wish, s, ro.Accept); err != nil {
		return nil, err
	}
	if err := mg.Disk.SaveSet(s.next); err != nil {
		return nil, fmt.Errorf("nothing changed: %w", err)
	}
	if s.waiting {
		return change, mg.passBy(ctx, d, seen, s, change, e, ro)
	}
	slot, number, err := mg.buildSet(d, s.next)
	if err != nil {
		return nil, mg.BuildError(err)
	}
	e.Number, change.Number = number, number
	if err := mg.publishBuilt(ctx, d, seen, s.next, slot, change, e, ro.confirm); err != nil {
		return nil, err
	}
	if ro.confirm == 0 {
		mg.prune(d)
	}
	return change, nil
}

// protects refuses a bundle whose own rows would block what this host protects since the bundle was read: the host file was
// reloaded while it waited, and what it says now counts.
func (mg *Manager) protects(ro *rollout) error {
	h := mg.Host()
	if ro.wish.bundle == nil || ro.host == h {
		return nil
	}
	own, err := mg.Own()
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
func (mg *Manager) buildSet(d Kernel, set *config.Set, beside ...uint8) (slot uint8, number uint32, err error) {
	h := mg.Host()
	host, err := hostfile.Compile(d, h, 0)
	if err != nil {
		return 0, 0, fmt.Errorf("compile host file: %w", err)
	}
	return mg.build(d, set.Merge(), h, host, beside...)
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
func (mg *Manager) moved(d Kernel, seen mark) error {
	switch {
	case mg.rollouts.isEnded(seen.rollout):
		return &api.Error{Code: api.CodeCancelled, Message: "somebody ended this rollout meanwhile, so it is not published", Fix: "look at `spillway history`, then ask again"}
	case mg.wentBack.Load() != seen.wentBack:
		return errWentBack
	case d.Control().Epoch != seen.epoch:
		return &api.Error{Code: api.CodeConflict, Message: "somebody else changed the control word meanwhile; nothing changed", Fix: "look at `spillway status`, then ask again"}
	}
	return nil
}

// publishBuilt is the moment of an apply: what was built counts from here on, if its sender still waits for it and nobody
// rolled back since.
func (mg *Manager) publishBuilt(ctx context.Context, d Kernel, seen mark, set *config.Set, slot uint8, change *api.Change, e *state.Entry, confirm time.Duration) error {
	mg.swap.Lock()
	defer mg.swap.Unlock()
	if err := mg.moved(d, seen); err != nil {
		return err
	}
	if err := api.Late(ctx); err != nil {
		return err
	}
	if confirm > 0 {
		return mg.publishCandidate(d, seen.epoch, set, slot, change, e, seen.rollout.ID, confirm)
	}
	return mg.publishStable(d, seen, set, slot, change, e)
}

// BuildError tells a bundle that does not fit from a kernel that failed.
func (mg *Manager) BuildError(err error) error {
	if errors.Is(err, loader.ErrCapacity) {
		return &api.Error{Code: api.CodeRefused, Message: "the bundle is refused; what is in force goes on: " + err.Error(), Fix: ledger.Fix(err)}
	}
	return fmt.Errorf("nothing changed: %w", err)
}

func (mg *Manager) publishStable(d Kernel, seen mark, set *config.Set, slot uint8, change *api.Change, e *state.Entry) error {
	if _, err := d.Publish(loader.Change{Stable: &slot, Seen: &seen.epoch}); err != nil {
		return mg.publishError(err)
	}
	mg.nowStable(d, set, seen.rollout.leaves, change, e)
	return nil
}

// nowStable says and writes down that a set is in force.
func (mg *Manager) nowStable(d Kernel, set *config.Set, leaves *state.Member, change *api.Change, e *state.Entry) {
	bake := mg.Host().Guards.Bake
	change.Outcome, change.BakeUntil = api.OutcomeApplied, mg.Ledger.Now().Add(bake).UTC()
	v := mg.Judge(d)
	change.Message = view.InForce(v, change.Number)
	change.Incomplete = v.Unknown
	if waits := mg.IdleReason(d); waits != "" {
		change.Message += "; it bakes to last-known-good once " + waits
	} else {
		change.Message += fmt.Sprintf("; last-known-good in %s unless it is rolled back", api.Short(bake))
	}
	g := generation(set, e.Number, e.At, e.User)
	ledger.Note(change, mg.Ledger.Update(func(r *state.Record) {
		r.Apply(g, change.BakeUntil)
		if leaves != nil {
			r.Leave(*leaves, quarantined(leaves.Name, leaves.Digest, e))
		}
	}))
	if leaves != nil {
		change.Message += fmt.Sprintf("; the version of %s that was left needs a reason to come back", leaves.Name)
		mg.countRollback()
	}
}

func (mg *Manager) prune(d Kernel) {
	keep := append(mg.Ledger.Record().References(), mg.queuedDigests()...)
	if all, err := d.Generations(); err == nil {
		for _, g := range all {
			keep = append(keep, g.Digest)
		}
	}
	if err := mg.Disk.Prune(keep); err != nil {
		mg.Log.Warn("old bundles stay", "error", err)
	}
}
