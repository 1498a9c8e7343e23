// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// applier puts what a rollout wishes into force, or into the candidate's slot.
type applier struct {
	*site
	disk       setFiles
	swap       *swap
	archive    *archive
	guard      *guard
	builder    *builder
	candidates *candidates
	bake       *bake
	lookBeside func()
	judge      func(view.Kernel) view.Verdict
}

const (
	// quarantineFor is how long a bundle that was rolled back needs a reason to come again.
	quarantineFor = 24 * time.Hour
)

// carry carries out a rollout whose turn it is, with its line of the history.
func (ap *applier) carry(ctx context.Context, d Kernel, ro *rollout) (*api.Change, error) {
	e := ap.ledger.Entry(ro.by, ro.Kind, ro.Reason)
	e.Name = ro.wish.name()
	if ro.wish.bundle != nil {
		e.Digest = ro.wish.bundle.Digest
	}
	if ro.Accept != "" {
		e.Detail = append(e.Detail, "accepted: "+ro.Accept)
	}
	c, err := ap.apply(ctx, d, &e, ro)
	ap.outcome(&e, c, err)
	return c, err
}

// apply is a rollout from its wish to what is in force. The change lock is held.
func (ap *applier) apply(ctx context.Context, d Kernel, e *state.Entry, ro *rollout) (*api.Change, error) {
	seen := mark{epoch: d.Control().Epoch, wentBack: ro.wentBack, rollout: ro}
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	change := &api.Change{Envelope: api.NewEnvelope(), Name: ro.wish.name()}
	if b := ro.wish.bundle; b != nil {
		change.Digest, change.Warnings = b.Digest, b.Warnings
	}
	ap.lookBeside()
	if ap.swap.wentBack.Load() != seen.wentBack {
		return nil, errWentBack
	}
	if err := ap.guard.protects(ro); err != nil {
		return nil, err
	}
	s, err := ap.standing(d, ro.wish)
	if err != nil {
		return nil, err
	}
	change.Set = memberList(s.next)
	change.Details = append(change.Details, s.next.Warnings()...)
	if s.unchanged(change) {
		return change, nil
	}
	if err := ap.guard.held(ro.wish, s, ro.Accept); err != nil {
		return nil, err
	}
	if err := ap.disk.SaveSet(s.next); err != nil {
		return nil, fmt.Errorf("nothing changed: %w", err)
	}
	if s.waiting {
		return change, ap.passBy(ctx, d, seen, s, change, e, ro)
	}
	slot, number, err := ap.builder.set(d, s.next, false)
	if err != nil {
		return nil, BuildError(err)
	}
	e.Number, change.Number = number, number
	if err := ap.publishBuilt(ctx, d, seen, s.next, slot, change, e, ro.confirm); err != nil {
		return nil, err
	}
	if ro.confirm == 0 {
		ap.archive.prune(d)
	}
	return change, nil
}

func memberList(set *config.Set) []config.Member {
	if len(set.Bundles) < 2 {
		return nil // with one bundle all of it is in the reply
	}
	return slices.DeleteFunc(set.Members(), func(m config.Member) bool { return m.Name == config.HostMember })
}

// standing applies a wish to what is in force.
func (ap *applier) standing(d view.Kernel, w wish) (*standing, error) {
	all, err := d.Generations()
	if err != nil {
		return nil, err
	}
	c := d.Control()
	s := &standing{waiting: c.Candidate != bpf.SlotEmpty}
	s.stable, s.there = view.InSlot(all, c.Stable)
	if s.base, err = ap.archive.baseFor(s.stable, s.there, w); err != nil {
		return nil, err
	}
	s.next, err = ap.guard.onHost(w, s.base)
	return s, err
}
