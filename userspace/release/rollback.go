// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"fmt"
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

// backs are the ways back.
type backs struct {
	*site
	use        func() (Kernel, func(), error)
	change     *changing
	swap       *swap
	rollouts   *rollouts
	archive    *archive
	guard      *guard
	builder    *builder
	candidates *candidates
	modes      *modes
	lease      func() Lease
	judge      func(view.Kernel) view.Verdict
	notes      noteFiles
	stage      Stage
	noted      map[int64]bool // notes that are in the record, by their moment; swap guards it
}

// back goes back. A candidate that waits is ended and stable stays; otherwise previous becomes stable, or what the
// request names. It waits for no apply or reload that runs, unless it must build a generation that is no longer in the
// kernel: it goes back from what decides now, and what was being built for that is not published.
func (ba *backs) back(ctx context.Context, by api.Caller, r api.RollbackRequest) (*api.Change, error) {
	number := uint32(0)
	if r.To != "" && r.To != api.ToObserve && r.To != api.ToEmpty {
		n, err := strconv.ParseUint(r.To, 10, 32)
		if err != nil || n == 0 {
			return nil, &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("%q is no way back", r.To),
				Fix: "valid: the number of a generation, observe, empty"}
		}
		number = uint32(n)
	}
	d, done, err := ba.use()
	if err != nil {
		return nil, err
	}
	if number != 0 && !isPrevious(d, number) {
		done()
		return ba.build(ctx, by, r, number)
	}
	defer done()
	ba.swap.Lock()
	defer ba.swap.Unlock()
	seen := d.Control().Epoch
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	if d.Control().Epoch != seen { // somebody went back beside this agent, which was stopped
		return nil, errMoved
	}
	ba.swap.wentBack.Add(1)
	b := &state.Back{At: ba.ledger.Now(), UID: by.UID, By: by.User, Reason: r.Reason, Observed: observes(d)}
	change, err := ba.rollback(d, r.To, seen, number, b)
	return ba.wentDown(b, change, err)
}

// observes reports whether nobody is blocked by what decides.
func observes(d view.Kernel) bool { return d.Control().Mode == bpf.ModeObserve }

// wentDown writes a way back down, in record and history. The swap lock is held.
func (ba *backs) wentDown(b *state.Back, change *api.Change, err error) (*api.Change, error) {
	if err != nil {
		e := b.Entry("")
		e.Outcome, e.Detail = api.OutcomeFailed, append(e.Detail, err.Error())
		ba.ledger.Audit(e)
		return nil, err
	}
	bake := ba.host().Guards.Bake
	ledger.Note(change, ba.ledger.Update(func(r *state.Record) { r.GoBack(*b, bake) }))
	if b.Way == state.BackObserve {
		ba.modes.tell()
	}
	ba.tally.rolledBack()
	ba.ledger.Audit(b.Entry(ba.ledger.NameOf(b.To.Digest)))
	return change, nil
}

func (ba *backs) rollback(d trial, to string, seen, number uint32, b *state.Back) (*api.Change, error) {
	all, err := d.Generations()
	if err != nil {
		return nil, err
	}
	c := d.Control()
	left, _ := view.InSlot(all, c.Stable)
	switch to {
	case api.ToObserve:
		return ba.backToObserve(d, left, b)
	case api.ToEmpty:
		return ba.backToEmpty(d, left, b)
	}
	g, ok := view.InSlot(all, c.Candidate)
	if c.Canary == 0 && ba.stage.Owns(g.Number) {
		ok = false // it decides for nobody: what harms now is what is stable
	}
	if ok && number == 0 {
		return ba.candidates.end(d, g, b)
	}
	if c.Previous == bpf.SlotEmpty {
		return nil, ba.archive.noPrevious()
	}
	g, _ = view.InSlot(all, c.Previous)
	next, err := d.Publish(loader.Change{Stable: &c.Previous, Back: true, Seen: &seen})
	if err != nil {
		return nil, publishError(err)
	}
	ba.lease().Release()
	if next.Stable != c.Previous {
		return nil, errMoved
	}
	return ba.backTo(d, g, left.Number, left.Digest, b), nil
}

// backTo describes that a generation decides again.
func (ba *backs) backTo(d view.Kernel, g loader.GenerationInfo, left uint32, digest config.Digest,
	b *state.Back) *api.Change {
	ba.ledger.EnsureKnown(g.Digest)
	b.Way, b.Left = state.BackGeneration, digest
	b.To = state.Generation{Digest: g.Digest, Members: ba.ledger.RecordMembers(g.Digest), Number: g.Number,
		At: b.At.UTC(), By: b.By}
	message := view.InForce(ba.judge(d), g.Number)
	if left != 0 {
		b.Detail = append(b.Detail, fmt.Sprintf("left generation %d, %s", left, digest.Short()))
		message += fmt.Sprintf("; generation %d was left, and needs a reason to come back", left)
	}
	return &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Digest: g.Digest, Number: g.Number,
		Name: ba.ledger.NameOf(g.Digest), Message: message}
}

func (ba *backs) backToObserve(d word, stable loader.GenerationInfo, b *state.Back) (*api.Change, error) {
	b.Way, b.Detail = state.BackObserve, []string{"to observe"}
	b.To = state.Generation{Digest: stable.Digest, Number: stable.Number, At: b.At.UTC(), By: b.By}
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Digest: stable.Digest,
		Number: stable.Number, Name: ba.ledger.NameOf(stable.Digest),
		Message: "everything is judged and nothing is blocked, bans neither, until `spillway reload`"}
	if d.Control().Mode == bpf.ModeObserve {
		change.Outcome, change.Message = api.OutcomeUnchanged, "this host observes already: nothing is blocked, bans neither"
	}
	mode := bpf.ModeObserve
	_, err := d.Publish(loader.Change{Mode: &mode})
	return change, err
}

func (ba *backs) backToEmpty(d word, left loader.GenerationInfo, b *state.Back) (*api.Change, error) {
	b.Way, b.Left, b.Detail = state.BackEmpty, left.Digest, []string{"to empty"}
	if _, err := d.DropGenerations(); err != nil {
		return nil, err
	}
	ba.lease().Release()
	change := &api.Change{Envelope: api.NewEnvelope(), Outcome: api.OutcomeDone, Message: view.WithoutBundle(ba.judge(d))}
	if left.Number != 0 {
		b.Detail = append(b.Detail, fmt.Sprintf("left generation %d, %s", left.Number, config.Digest(left.Digest).Short()))
		change.Message += fmt.Sprintf("; generation %d was left, and needs a reason to come back", left.Number)
	}
	return change, nil
}

func isPrevious(d view.Kernel, number uint32) bool {
	all, err := d.Generations()
	if err != nil {
		return false
	}
	g, ok := view.InSlot(all, d.Control().Previous)
	return ok && g.Number == number
}

// build goes back to a generation that must be built again from its bundle on disk.
func (ba *backs) build(ctx context.Context, by api.Caller, r api.RollbackRequest, number uint32) (*api.Change, error) {
	d, done, err := ba.change.begin()
	if err != nil {
		return nil, err
	}
	defer done()
	if err := api.Late(ctx); err != nil {
		return nil, err
	}
	to, err := ba.archive.storedGeneration(number)
	if err != nil {
		return nil, err
	}
	if hold := ba.guard.quarantineHold(to); hold != nil && strings.TrimSpace(r.Reason) == "" {
		return nil, &api.Error{Code: api.CodeHeld,
			Message: fmt.Sprintf("generation %d was left before, and needs a reason to come back; nothing changed", number),
			Holds:   []api.Hold{*hold}, Fix: fmt.Sprintf("spillway rollback --to %d --reason WHY", number)}
	}
	f := ba.file()
	host, err := hostfile.Compile(d, f, 0)
	if err != nil {
		return nil, fmt.Errorf("nothing changed: compile host file: %w", err)
	}
	seen := ba.swap.seen(d)
	slot, built, err := ba.builder.known(d, ledger.WorkRebuild, to.Digest, f.Host, host)
	if err != nil {
		return nil, BuildError(err)
	}
	ba.swap.Lock()
	defer ba.swap.Unlock()
	if err := ba.swap.moved(d, seen); err != nil {
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
		return nil, publishError(err)
	}
	ba.swap.wentBack.Add(1)
	ba.lease().Release()
	b := &state.Back{At: ba.ledger.Now(), UID: by.UID, By: by.User, Reason: r.Reason, Observed: observes(d),
		Detail: []string{fmt.Sprintf("to generation %d, built again as %d", number, built)}}
	change := ba.backTo(d, loader.GenerationInfo{Number: built, Digest: to.Digest}, left.Number, left.Digest, b)
	change.Message = fmt.Sprintf("the bundle of generation %d is back: %s", number, view.InForce(ba.judge(d), built))
	return ba.wentDown(b, change, nil)
}

func quarantined(name string, d config.Digest, e *state.Entry) state.Quarantined {
	return state.Quarantined{Name: name, Digest: d, At: e.At, By: e.User, Reason: e.Reason}
}
