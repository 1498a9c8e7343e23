// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// Rollback implements api.Backend. A candidate that waits is ended and stable stays; otherwise previous becomes stable, or
// what the request names. It waits for no apply or reload that runs, unless it must build a generation that is no longer
// in the kernel: it goes back from what decides now, and what was being built for that is not published.
func (a *agent) Rollback(ctx context.Context, by api.Caller, r api.RollbackRequest) (*api.Change, error) {
	if r.Bundle != "" {
		if r.To != "" {
			return nil, &api.Error{Code: api.CodeInvalid, Message: "a rollback of one bundle goes to its version before, and nowhere else", Fix: "leave one of both out"}
		}
		return a.rollbackBundle(ctx, by, r.Bundle, r.Reason)
	}
	number := uint32(0)
	if r.To != "" && r.To != api.ToObserve && r.To != api.ToEmpty {
		n, err := strconv.ParseUint(r.To, 10, 32)
		if err != nil || n == 0 {
			return nil, &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("%q is no way back", r.To), Fix: "valid: the number of a generation, observe, empty"}
		}
		number = uint32(n)
	}
	d, done, err := a.plane.Use()
	if err != nil {
		return nil, err
	}
	if number != 0 && !a.isPrevious(d, number) {
		done()
		return a.rollbackTo(ctx, by, r, number)
	}
	defer done()
	a.swap.Lock()
	defer a.swap.Unlock()
	seen := d.Control().Epoch
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	if d.Control().Epoch != seen { // somebody went back beside this agent, which was stopped
		return nil, movedError()
	}
	a.wentBack.Add(1)
	b := &state.Back{At: a.now(), UID: by.UID, By: by.User, Reason: r.Reason}
	change, err := a.rollback(d, r.To, seen, number, b)
	return a.wentDown(b, change, err)
}

func movedError() error {
	return &api.Error{Code: api.CodeConflict, Message: "somebody else changed the control word meanwhile; nothing changed", Fix: "look at `spillway status`, then ask again"}
}

// wentDown writes a way back down, in record and history. The swap lock is held.
func (a *agent) wentDown(b *state.Back, change *api.Change, err error) (*api.Change, error) {
	if err != nil {
		e := b.Entry("")
		e.Outcome, e.Detail = api.OutcomeFailed, append(e.Detail, err.Error())
		a.ledger.Audit(e)
		return nil, err
	}
	bake := a.hostFile().Guards.Bake
	ledger.Note(change, a.ledger.Update(func(r *state.Record) { r.GoBack(*b, bake) }))
	if b.Way == state.BackObserve {
		a.tellMode()
	}
	a.countRollback()
	a.ledger.Audit(b.Entry(a.ledger.NameOf(b.To.Digest)))
	return change, nil
}

func (a *agent) rollback(d plane.Dataplane, to string, seen, number uint32, b *state.Back) (*api.Change, error) {
	all, err := d.Generations()
	if err != nil {
		return nil, err
	}
	c := d.Control()
	left, _ := view.InSlot(all, c.Stable)
	switch to {
	case api.ToObserve:
		return a.backToObserve(d, left, b)
	case api.ToEmpty:
		return a.backToEmpty(d, left, b)
	}
	if g, ok := view.InSlot(all, c.Candidate); ok && number == 0 {
		return a.endCandidate(d, g, b)
	}
	if c.Previous == bpf.SlotEmpty {
		return nil, a.noPrevious()
	}
	g, _ := view.InSlot(all, c.Previous)
	next, err := d.Publish(loader.Change{Stable: &c.Previous, Back: true, Seen: &seen})
	if err != nil {
		return nil, a.publishError(err)
	}
	a.plane.Beat().Release()
	if next.Stable != c.Previous {
		return nil, movedError()
	}
	return a.backTo(d, g, left.Number, left.Digest, b), nil
}

// backTo describes that a generation decides again.
func (a *agent) backTo(d plane.Dataplane, g loader.GenerationInfo, left uint32, digest config.Digest, b *state.Back) *api.Change {
	a.ledger.EnsureKnown(g.Digest)
	b.Way, b.Left = state.BackGeneration, digest
	b.To = state.Generation{Digest: g.Digest, Members: a.ledger.RecordMembers(g.Digest), Number: g.Number, At: b.At.UTC(), By: b.By}
	message := view.InForce(a.plane.Verdict(d), g.Number)
	if left != 0 {
		b.Detail = append(b.Detail, fmt.Sprintf("left generation %d, %s", left, digest.Short()))
		message += fmt.Sprintf("; generation %d was left, and needs a reason to come back", left)
	}
	return &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Digest: g.Digest, Number: g.Number, Name: a.ledger.NameOf(g.Digest), Message: message}
}

func (a *agent) backToObserve(d plane.Dataplane, stable loader.GenerationInfo, b *state.Back) (*api.Change, error) {
	b.Way, b.Detail = state.BackObserve, []string{"to observe"}
	b.To = state.Generation{Digest: stable.Digest, Number: stable.Number, At: b.At.UTC(), By: b.By}
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Digest: stable.Digest, Number: stable.Number, Name: a.ledger.NameOf(stable.Digest),
		Message: "everything is judged and nothing is blocked, bans neither, until `spillway reload`"}
	if d.Control().Mode == bpf.DataplaneModeMODE_OBSERVE {
		change.Outcome, change.Message = api.OutcomeUnchanged, "this host observes already: nothing is blocked, bans neither"
	}
	mode := bpf.DataplaneModeMODE_OBSERVE
	_, err := d.Publish(loader.Change{Mode: &mode})
	return change, err
}

func (a *agent) backToEmpty(d plane.Dataplane, left loader.GenerationInfo, b *state.Back) (*api.Change, error) {
	b.Way, b.Left, b.Detail = state.BackEmpty, left.Digest, []string{"to empty"}
	if _, err := d.DropGenerations(); err != nil {
		return nil, err
	}
	a.plane.Beat().Release()
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Message: view.WithoutBundle(a.plane.Verdict(d))}
	if left.Number != 0 {
		b.Detail = append(b.Detail, fmt.Sprintf("left generation %d, %s", left.Number, config.Digest(left.Digest).Short()))
		change.Message += fmt.Sprintf("; generation %d was left, and needs a reason to come back", left.Number)
	}
	return change, nil
}

func (a *agent) endCandidate(d plane.Dataplane, g loader.GenerationInfo, b *state.Back) (*api.Change, error) {
	d.SetTripped(g.Number)
	next, err := d.Withdraw()
	if err != nil {
		return nil, err
	}
	a.plane.Beat().Release()
	b.Way, b.Left, b.To = state.BackCandidate, g.Digest, state.Generation{Digest: g.Digest, Number: g.Number}
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Digest: g.Digest, Number: g.Number, Name: a.ledger.NameOf(g.Digest),
		Message: fmt.Sprintf("the candidate, generation %d, is ended; what was stable before decides", g.Number)}
	if next.Stable == bpf.SlotEmpty {
		change.Message = fmt.Sprintf("the candidate, generation %d, is ended; %s", g.Number, view.WithoutBundle(a.plane.Verdict(d)))
	}
	return change, nil
}

func (a *agent) isPrevious(d plane.Dataplane, number uint32) bool {
	all, err := d.Generations()
	if err != nil {
		return false
	}
	g, ok := view.InSlot(all, d.Control().Previous)
	return ok && g.Number == number
}

// rollbackTo goes back to a generation that must be built again from its bundle on disk.
func (a *agent) rollbackTo(ctx context.Context, by api.Caller, r api.RollbackRequest, number uint32) (*api.Change, error) {
	d, done, err := a.begin()
	if err != nil {
		return nil, err
	}
	defer done()
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	to, err := a.storedGeneration(number)
	if err != nil {
		return nil, err
	}
	if hold := a.quarantineHold(to); hold != nil && strings.TrimSpace(r.Reason) == "" {
		return nil, &api.Error{Code: api.CodeHeld, Message: fmt.Sprintf("generation %d was left before, and needs a reason to come back; nothing changed", number), Holds: []api.Hold{*hold}, Fix: fmt.Sprintf("spillway rollback --to %d --reason WHY", number)}
	}
	h := a.hostFile()
	host, err := plane.CompileHost(d, h, 0)
	if err != nil {
		return nil, fmt.Errorf("nothing changed: compile host file: %w", err)
	}
	seen := mark{epoch: d.Control().Epoch, wentBack: a.wentBack.Load()}
	slot, built, err := a.buildKnown(d, ledger.WorkRebuild, to.Digest, h, host)
	if err != nil {
		return nil, a.buildError(err)
	}
	a.swap.Lock()
	defer a.swap.Unlock()
	if err := a.moved(d, seen); err != nil {
		return nil, err
	}
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	all, err := d.Generations()
	if err != nil {
		return nil, err
	}
	left, _ := view.InSlot(all, d.Control().Stable)
	if _, err := d.Publish(loader.Change{Stable: &slot, Back: true, Seen: &seen.epoch}); err != nil {
		return nil, a.publishError(err)
	}
	a.wentBack.Add(1)
	a.plane.Beat().Release()
	b := &state.Back{At: a.now(), UID: by.UID, By: by.User, Reason: r.Reason, Detail: []string{fmt.Sprintf("to generation %d, built again as %d", number, built)}}
	change := a.backTo(d, loader.GenerationInfo{Number: built, Digest: to.Digest}, left.Number, left.Digest, b)
	change.Message = fmt.Sprintf("the bundle of generation %d is back: %s", number, view.InForce(a.plane.Verdict(d), built))
	return a.wentDown(b, change, nil)
}

// publishError tells who came between from a kernel that failed.
func (a *agent) publishError(err error) error {
	if errors.Is(err, loader.ErrMoved) {
		return movedError()
	}
	return fmt.Errorf("nothing changed: %w", err)
}

// stored lists the generations that can be gone back to: those whose bundles are on disk.
func (a *agent) stored() []state.Generation {
	return slices.DeleteFunc(a.ledger.Record().Stored(), func(g state.Generation) bool {
		return slices.ContainsFunc(g.Bundles(), func(d config.Digest) bool { return !a.ledger.Store().Has(d) })
	})
}

func (a *agent) storedGeneration(number uint32) (state.Generation, error) {
	for _, g := range a.stored() {
		if g.Number == number {
			return g, nil
		}
	}
	if r := a.ledger.Record(); r.Applied != nil && r.Applied.Number == number {
		return state.Generation{}, &api.Error{Code: api.CodeConflict, Message: fmt.Sprintf("generation %d is in force already; nothing changed", number), Fix: "`spillway status` says where you can go back to"}
	}
	return state.Generation{}, &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("generation %d is not stored; nothing changed", number), Fix: api.Ways(a.ways())}
}

// quarantineHold is why a stored generation needs a reason.
func (a *agent) quarantineHold(g state.Generation) *api.Hold {
	members := g.Members
	if len(members) == 0 {
		members = state.One(g.Name(), g.Digest)
	}
	for _, m := range members {
		for _, h := range a.quarantineHolds(m.Name, m.Digest) {
			return &h
		}
	}
	return nil
}

func (a *agent) noPrevious() error {
	return &api.Error{Code: api.CodeNoPrevious, Message: "there is no previous generation to go back to; nothing changed", Fix: api.Ways(a.ways())}
}

// ways lists the same for the API.
func (a *agent) ways() []api.Known {
	out := []api.Known{}
	for _, g := range a.stored() {
		out = append(out, api.Known{Digest: g.Digest, Name: g.Name(), Number: g.Number, Since: g.At.UTC()})
	}
	return out
}

func quarantined(name string, d config.Digest, e *state.Entry) state.Quarantined {
	return state.Quarantined{Name: name, Digest: d, At: e.At, By: e.User, Reason: e.Reason}
}
