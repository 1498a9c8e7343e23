// SPDX-License-Identifier: Apache-2.0

package release

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
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// Rollback goes back. A candidate that waits is ended and stable stays; otherwise previous becomes stable, or
// what the request names. It waits for no apply or reload that runs, unless it must build a generation that is no longer
// in the kernel: it goes back from what decides now, and what was being built for that is not published.
func (mg *Manager) Rollback(ctx context.Context, by api.Caller, r api.RollbackRequest) (*api.Change, error) {
	if r.Bundle != "" {
		if r.To != "" {
			return nil, &api.Error{Code: api.CodeInvalid, Message: "a rollback of one bundle goes to its version before, and nowhere else", Fix: "leave one of both out"}
		}
		return mg.rollbackBundle(ctx, by, r.Bundle, r.Reason)
	}
	number := uint32(0)
	if r.To != "" && r.To != api.ToObserve && r.To != api.ToEmpty {
		n, err := strconv.ParseUint(r.To, 10, 32)
		if err != nil || n == 0 {
			return nil, &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("%q is no way back", r.To), Fix: "valid: the number of a generation, observe, empty"}
		}
		number = uint32(n)
	}
	d, done, err := mg.Use()
	if err != nil {
		return nil, err
	}
	if number != 0 && !mg.isPrevious(d, number) {
		done()
		return mg.rollbackTo(ctx, by, r, number)
	}
	defer done()
	mg.swap.Lock()
	defer mg.swap.Unlock()
	seen := d.Control().Epoch
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	if d.Control().Epoch != seen { // somebody went back beside this agent, which was stopped
		return nil, movedError()
	}
	mg.wentBack.Add(1)
	b := &state.Back{At: mg.Ledger.Now(), UID: by.UID, By: by.User, Reason: r.Reason}
	change, err := mg.rollback(d, r.To, seen, number, b)
	return mg.wentDown(b, change, err)
}

func movedError() error {
	return &api.Error{Code: api.CodeConflict, Message: "somebody else changed the control word meanwhile; nothing changed", Fix: "look at `spillway status`, then ask again"}
}

// wentDown writes a way back down, in record and history. The swap lock is held.
func (mg *Manager) wentDown(b *state.Back, change *api.Change, err error) (*api.Change, error) {
	if err != nil {
		e := b.Entry("")
		e.Outcome, e.Detail = api.OutcomeFailed, append(e.Detail, err.Error())
		mg.Ledger.Audit(e)
		return nil, err
	}
	bake := mg.Host().Guards.Bake
	ledger.Note(change, mg.Ledger.Update(func(r *state.Record) { r.GoBack(*b, bake) }))
	if b.Way == state.BackObserve {
		mg.TellMode()
	}
	mg.countRollback()
	mg.Ledger.Audit(b.Entry(mg.Ledger.NameOf(b.To.Digest)))
	return change, nil
}

func (mg *Manager) rollback(d Kernel, to string, seen, number uint32, b *state.Back) (*api.Change, error) {
	all, err := d.Generations()
	if err != nil {
		return nil, err
	}
	c := d.Control()
	left, _ := view.InSlot(all, c.Stable)
	switch to {
	case api.ToObserve:
		return mg.backToObserve(d, left, b)
	case api.ToEmpty:
		return mg.backToEmpty(d, left, b)
	}
	if g, ok := view.InSlot(all, c.Candidate); ok && number == 0 {
		return mg.endCandidate(d, g, b)
	}
	if c.Previous == bpf.SlotEmpty {
		return nil, mg.noPrevious()
	}
	g, _ := view.InSlot(all, c.Previous)
	next, err := d.Publish(loader.Change{Stable: &c.Previous, Back: true, Seen: &seen})
	if err != nil {
		return nil, mg.publishError(err)
	}
	mg.Lease().Release()
	if next.Stable != c.Previous {
		return nil, movedError()
	}
	return mg.backTo(d, g, left.Number, left.Digest, b), nil
}

// backTo describes that a generation decides again.
func (mg *Manager) backTo(d Kernel, g loader.GenerationInfo, left uint32, digest config.Digest, b *state.Back) *api.Change {
	mg.Ledger.EnsureKnown(g.Digest)
	b.Way, b.Left = state.BackGeneration, digest
	b.To = state.Generation{Digest: g.Digest, Members: mg.Ledger.RecordMembers(g.Digest), Number: g.Number, At: b.At.UTC(), By: b.By}
	message := view.InForce(mg.Judge(d), g.Number)
	if left != 0 {
		b.Detail = append(b.Detail, fmt.Sprintf("left generation %d, %s", left, digest.Short()))
		message += fmt.Sprintf("; generation %d was left, and needs a reason to come back", left)
	}
	return &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Digest: g.Digest, Number: g.Number, Name: mg.Ledger.NameOf(g.Digest), Message: message}
}

func (mg *Manager) backToObserve(d Kernel, stable loader.GenerationInfo, b *state.Back) (*api.Change, error) {
	b.Way, b.Detail = state.BackObserve, []string{"to observe"}
	b.To = state.Generation{Digest: stable.Digest, Number: stable.Number, At: b.At.UTC(), By: b.By}
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Digest: stable.Digest, Number: stable.Number, Name: mg.Ledger.NameOf(stable.Digest),
		Message: "everything is judged and nothing is blocked, bans neither, until `spillway reload`"}
	if d.Control().Mode == bpf.DataplaneModeMODE_OBSERVE {
		change.Outcome, change.Message = api.OutcomeUnchanged, "this host observes already: nothing is blocked, bans neither"
	}
	mode := bpf.DataplaneModeMODE_OBSERVE
	_, err := d.Publish(loader.Change{Mode: &mode})
	return change, err
}

func (mg *Manager) backToEmpty(d Kernel, left loader.GenerationInfo, b *state.Back) (*api.Change, error) {
	b.Way, b.Left, b.Detail = state.BackEmpty, left.Digest, []string{"to empty"}
	if _, err := d.DropGenerations(); err != nil {
		return nil, err
	}
	mg.Lease().Release()
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Message: view.WithoutBundle(mg.Judge(d))}
	if left.Number != 0 {
		b.Detail = append(b.Detail, fmt.Sprintf("left generation %d, %s", left.Number, config.Digest(left.Digest).Short()))
		change.Message += fmt.Sprintf("; generation %d was left, and needs a reason to come back", left.Number)
	}
	return change, nil
}

func (mg *Manager) endCandidate(d Kernel, g loader.GenerationInfo, b *state.Back) (*api.Change, error) {
	d.SetTripped(g.Number)
	next, err := d.Withdraw()
	if err != nil {
		return nil, err
	}
	mg.Lease().Release()
	b.Way, b.Left, b.To = state.BackCandidate, g.Digest, state.Generation{Digest: g.Digest, Number: g.Number}
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Digest: g.Digest, Number: g.Number, Name: mg.Ledger.NameOf(g.Digest),
		Message: fmt.Sprintf("the candidate, generation %d, is ended; what was stable before decides", g.Number)}
	if next.Stable == bpf.SlotEmpty {
		change.Message = fmt.Sprintf("the candidate, generation %d, is ended; %s", g.Number, view.WithoutBundle(mg.Judge(d)))
	}
	return change, nil
}

func (mg *Manager) isPrevious(d Kernel, number uint32) bool {
	all, err := d.Generations()
	if err != nil {
		return false
	}
	g, ok := view.InSlot(all, d.Control().Previous)
	return ok && g.Number == number
}

// rollbackTo goes back to a generation that must be built again from its bundle on disk.
func (mg *Manager) rollbackTo(ctx context.Context, by api.Caller, r api.RollbackRequest, number uint32) (*api.Change, error) {
	d, done, err := mg.Begin()
	if err != nil {
		return nil, err
	}
	defer done()
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	to, err := mg.storedGeneration(number)
	if err != nil {
		return nil, err
	}
	if hold := mg.quarantineHold(to); hold != nil && strings.TrimSpace(r.Reason) == "" {
		return nil, &api.Error{Code: api.CodeHeld, Message: fmt.Sprintf("generation %d was left before, and needs a reason to come back; nothing changed", number), Holds: []api.Hold{*hold}, Fix: fmt.Sprintf("spillway rollback --to %d --reason WHY", number)}
	}
	h := mg.Host()
	host, err := hostfile.Compile(d, h, 0)
	if err != nil {
		return nil, fmt.Errorf("nothing changed: compile host file: %w", err)
	}
	seen := mark{epoch: d.Control().Epoch, wentBack: mg.wentBack.Load()}
	slot, built, err := mg.buildKnown(d, ledger.WorkRebuild, to.Digest, h, host)
	if err != nil {
		return nil, mg.BuildError(err)
	}
	mg.swap.Lock()
	defer mg.swap.Unlock()
	if err := mg.moved(d, seen); err != nil {
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
		return nil, mg.publishError(err)
	}
	mg.wentBack.Add(1)
	mg.Lease().Release()
	b := &state.Back{At: mg.Ledger.Now(), UID: by.UID, By: by.User, Reason: r.Reason, Detail: []string{fmt.Sprintf("to generation %d, built again as %d", number, built)}}
	change := mg.backTo(d, loader.GenerationInfo{Number: built, Digest: to.Digest}, left.Number, left.Digest, b)
	change.Message = fmt.Sprintf("the bundle of generation %d is back: %s", number, view.InForce(mg.Judge(d), built))
	return mg.wentDown(b, change, nil)
}

// publishError tells who came between from a kernel that failed.
func (mg *Manager) publishError(err error) error {
	if errors.Is(err, loader.ErrMoved) {
		return movedError()
	}
	return fmt.Errorf("nothing changed: %w", err)
}

// stored lists the generations that can be gone back to: those whose bundles are on disk.
func (mg *Manager) stored() []state.Generation {
	return slices.DeleteFunc(mg.Ledger.Record().Stored(), func(g state.Generation) bool {
		return slices.ContainsFunc(g.Bundles(), func(d config.Digest) bool { return !mg.Disk.Has(d) })
	})
}

func (mg *Manager) storedGeneration(number uint32) (state.Generation, error) {
	for _, g := range mg.stored() {
		if g.Number == number {
			return g, nil
		}
	}
	if r := mg.Ledger.Record(); r.Applied != nil && r.Applied.Number == number {
		return state.Generation{}, &api.Error{Code: api.CodeConflict, Message: fmt.Sprintf("generation %d is in force already; nothing changed", number), Fix: "`spillway status` says where you can go back to"}
	}
	return state.Generation{}, &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("generation %d is not stored; nothing changed", number), Fix: api.Ways(mg.Ways())}
}

// quarantineHold is why a stored generation needs a reason.
func (mg *Manager) quarantineHold(g state.Generation) *api.Hold {
	members := g.Members
	if len(members) == 0 {
		members = state.One(g.Name(), g.Digest)
	}
	for _, m := range members {
		for _, h := range mg.quarantineHolds(m.Name, m.Digest) {
			return &h
		}
	}
	return nil
}

func (mg *Manager) noPrevious() error {
	return &api.Error{Code: api.CodeNoPrevious, Message: "there is no previous generation to go back to; nothing changed", Fix: api.Ways(mg.Ways())}
}

// Ways lists the same for the API.
func (mg *Manager) Ways() []api.Known {
	out := []api.Known{}
	for _, g := range mg.stored() {
		out = append(out, api.Known{Digest: g.Digest, Name: g.Name(), Number: g.Number, Since: g.At.UTC()})
	}
	return out
}

func quarantined(name string, d config.Digest, e *state.Entry) state.Quarantined {
	return state.Quarantined{Name: name, Digest: d, At: e.At, By: e.User, Reason: e.Reason}
}
