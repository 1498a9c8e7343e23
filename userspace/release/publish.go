// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

/*
The moment of a release. What is built lies in a slot that nobody names; from one compare-and-swap of the control word
on, packets meet it. An apply comes through here (publishBuilt); a candidate (candidate.go), what passes one by
(passby.go) and what was built again for a host file or a clock (rebuilt.go) do the same under the same lock.

	for as long as it takes                       swap is held: a moment
	┌──────────────────────────────────────────┐ ┌────────────────────────────────────────────┐
	mark ──▶ held? ──▶ save set ──▶ fill slot ──▶ moved? ──▶ late? ──▶ swap the word ──▶ record
	           │          │             │           │          │           │
	           ▼          ▼             ▼           ▼          ▼           ▼
	         refused, and nothing changed: the slot is nobody's, and the next build takes it

A rollback takes swap alone and counts itself in wentBack. So it waits for nothing that is built, and what was built for
the state before it is not published: its mark is old. Who ended a rollout while it was built is seen the same way.

Word and record are two stores. Either may be refused, and the process may die between them:

	                  word            record         who settles it
	stable            names the set   as before      reconcile: the record follows the word; the history says "found"
	stable, no disk   names the set   in memory      the change says so, and the ledger writes it again later
	candidate         as before       has Confirm    candidates.adopt at the next start: it is held, and can be tried again
	candidate         names it        has Confirm    its deadline and its lease (candidate.go)

The order differs on purpose. A stable set that the record does not know yet serves meanwhile. A candidate that the
record does not know would have no deadline: it is written first, then its lease is granted, then the word names it; a
word that refuses takes both back.

What holds whenever swap is free: the word names filled slots alone; a candidate in the word is in the record; what was
published was built for the word that it replaced (moved, and Change.Seen inside the compare-and-swap).
*/

// swap is held while the control word and the record of it change together: for a moment. It is taken after the change
// lock. A rollback takes it alone, so that it never waits for a bundle that is being built; wentBack tells whoever
// builds.
type swap struct {
	sync.Mutex
	wentBack atomic.Uint64
	ended    func(*rollout) bool
}

// mark is what a builder saw when it began.
type mark struct {
	epoch    uint32
	wentBack uint64
	rollout  *rollout
}

var errWentBack = &api.Error{Code: api.CodeConflict,
	Message: "somebody rolled back meanwhile, so this is not published", Fix: "look at `spillway history`, then ask again"}

// seen is the mark of a builder that nobody asked for a rollout.
func (sw *swap) seen(d view.Kernel) mark {
	return mark{epoch: d.Control().Epoch, wentBack: sw.wentBack.Load()}
}

// moved refuses to publish what was built for another state: somebody went back meanwhile, and meant it. The swap lock
// is held.
func (sw *swap) moved(d view.Kernel, seen mark) error {
	switch {
	case sw.ended(seen.rollout):
		return &api.Error{Code: api.CodeCancelled, Message: "somebody ended this rollout meanwhile, so it is not published",
			Fix: "look at `spillway history`, then ask again"}
	case sw.wentBack.Load() != seen.wentBack:
		return errWentBack
	case d.Control().Epoch != seen.epoch:
		return errMoved
	}
	return nil
}

// publishBuilt is the moment of an apply: what was built counts from here on, if its sender still waits for it and
// nobody rolled back since.
func (ap *applier) publishBuilt(ctx context.Context, d trial, seen mark, set *config.Set, slot uint8,
	change *api.Change, e *state.Entry, confirm time.Duration) error {
	ap.swap.Lock()
	defer ap.swap.Unlock()
	if err := ap.swap.moved(d, seen); err != nil {
		return err
	}
	if err := api.Late(ctx); err != nil {
		return err
	}
	if confirm > 0 {
		return ap.candidates.publish(d, seen.epoch, set, slot, change, e, seen.rollout.ID, confirm)
	}
	return ap.publishStable(d, seen, set, slot, change, e)
}

func (ap *applier) publishStable(d trial, seen mark, set *config.Set, slot uint8, change *api.Change,
	e *state.Entry) error {
	if _, err := d.Publish(loader.Change{Stable: &slot, Seen: &seen.epoch}); err != nil {
		return publishError(err)
	}
	ap.nowStable(d, set, seen.rollout.leaves, change, e)
	return nil
}

// nowStable says and writes down that a set is in force.
func (ap *applier) nowStable(d view.Kernel, set *config.Set, leaves *state.Member, change *api.Change, e *state.Entry) {
	bake := ap.host().Guards.Bake
	change.Outcome, change.BakeUntil = api.OutcomeApplied, ap.ledger.Now().Add(bake).UTC()
	v := ap.judge(d)
	change.Message = view.InForce(v, change.Number)
	change.Incomplete = v.Unknown
	if waits := ap.bake.idleReason(d); waits != "" {
		change.Message += "; it bakes to last-known-good once " + waits
	} else {
		change.Message += fmt.Sprintf("; last-known-good in %s unless it is rolled back", api.Short(bake))
	}
	g := generation(set, e.Number, e.At, e.User)
	ledger.Note(change, ap.ledger.Update(func(r *state.Record) {
		r.Apply(g, change.BakeUntil)
		if leaves != nil {
			r.Leave(*leaves, quarantined(leaves.Name, leaves.Digest, e))
		}
	}))
	if leaves != nil {
		change.Message += fmt.Sprintf("; the version of %s that was left needs a reason to come back", leaves.Name)
		ap.tally.rolledBack()
	}
}

// publishError tells who came between from a kernel that failed.
func publishError(err error) error {
	if errors.Is(err, loader.ErrMoved) {
		return errMoved
	}
	return fmt.Errorf("nothing changed: %w", err)
}

var errMoved = &api.Error{Code: api.CodeConflict,
	Message: "somebody else changed the control word meanwhile; nothing changed",
	Fix:     "look at `spillway status`, then ask again"}
