// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// nextNumber returns a generation number that nobody had: more than any resident one and any that the record has seen.
func (a *agent) nextNumber(d plane.Dataplane) (uint32, error) {
	n, err := d.NextNumber()
	if err != nil {
		return 0, err
	}
	return max(n, a.ledger.Record().LastNumber+1), nil
}

// build compiles a bundle for a host file and builds it aside. It publishes nothing.
func (a *agent) build(d plane.Dataplane, b *config.Bundle, h *config.Host, host *loader.HostImage, beside ...uint8) (slot uint8, number uint32, err error) {
	if number, err = a.nextNumber(d); err != nil {
		return 0, 0, err
	}
	own, err := a.opts.own()
	if err != nil {
		return 0, 0, err // without them a bundle could block this host
	}
	here, because := b.LeaveOut(config.Protected(h, own))
	at := a.opts.clock()
	img, err := loader.CompileBundle(here, host, number, at)
	if err != nil {
		return 0, 0, err
	}
	a.collect(d)
	if slot, err = d.Build(img, beside...); err != nil {
		return 0, 0, err
	}
	a.plane.KeepImage(img)
	a.ledger.Learn(b.Digest, b.Name, b.Rules)
	made := compiled(img, at, host.Context(), here.OmittedProtected, because)
	resident, lerr := d.Generations()
	_ = a.ledger.Update(func(r *state.Record) {
		r.LastNumber = number
		r.Compiled = append(r.Compiled, made)
		if lerr == nil {
			r.Compiled = slices.DeleteFunc(r.Compiled, func(c state.Compiled) bool { return !isResident(resident, c.Number) })
		}
	})
	return slot, number, nil
}

// buildHost compiles a host file under the next number and builds it aside. It publishes nothing.
func (a *agent) buildHost(d plane.Dataplane, h *config.Host) (*loader.HostImage, uint8, error) {
	number, err := a.nextHostNumber(d)
	if err != nil {
		return nil, 0, err
	}
	host, err := plane.CompileHost(d, h, number)
	if err != nil {
		return nil, 0, fmt.Errorf("compile host file: %w", err)
	}
	slot, err := d.BuildHost(host)
	if err != nil {
		return nil, 0, fmt.Errorf("build host file: %w", err)
	}
	return host, slot, nil
}

// publishFromDisk fills an empty kernel: the host file, and the bundle that comes back. Without one,
// everything passes.
func (a *agent) publishFromDisk(d plane.Dataplane) error {
	seen := d.Control().Epoch
	file := a.loaded()
	h := file.Host
	host, hostSlot, err := a.buildHost(d, h)
	if err != nil {
		return err
	}
	known, mode := a.comeback()
	change := loader.Change{Host: &hostSlot, Mode: &mode, Seen: &seen}
	e := a.ledger.Entry(ledger.Itself(), "start", "the kernel held nothing")
	e.Outcome = api.OutcomeDone
	var later error
	if known != nil {
		e.Digest, e.Name = known.Digest, known.Name()
		slot, number, err := a.buildKnown(d, ledger.WorkRestore, known.Digest, h, host)
		if err != nil {
			if later = refusedForNow(err); later != nil && a.unadopted && d.Control().Host != bpf.SlotEmpty {
				return later // the host file is in force since the first attempt
			}
			if !a.ledger.Record().HeldBack {
				mode = view.ModeOf(h.MaxMode) // there is nothing that must only observe
			}
			e.Detail = append(e.Detail, err.Error())
			a.ledger.SetProblem(ledger.ProblemLKG, fmt.Sprintf("last-known-good %s cannot be used, so no bundle is in force: %v", known.Digest.Short(), err), "spillway apply BUNDLE")
		} else {
			change.Stable, e.Number = &slot, number
			a.ledger.ClearProblem(ledger.ProblemLKG)
		}
	}
	a.swap.Lock()
	defer a.swap.Unlock()
	if _, err := d.Publish(change); err != nil {
		return fmt.Errorf("publish host file: %w", err)
	}
	_ = a.ledger.Update(func(r *state.Record) {
		r.HostDigest, r.ModeHeld = file.Digest, mode != view.ModeOf(h.MaxMode)
		r.HeldBack = r.HeldBack && r.ModeHeld
		if change.Stable != nil {
			r.Applied = &state.Generation{Digest: known.Digest, Members: known.Members, Number: e.Number, At: a.now().UTC(), By: "agent"}
			if r.LastKnownGood != nil && r.LastKnownGood.Digest == known.Digest {
				r.LastKnownGood.Number, r.BakeUntil = e.Number, time.Time{}
			}
		}
	})
	a.ledger.Audit(e)
	return later
}

// errNoKnownGood says that the host file is published, and last-known-good could not be built this time.
var errNoKnownGood = errors.New("last-known-good could not be built")

// refusedForNow returns errNoKnownGood when it was the kernel that refused: it may do so for a moment only. A bundle
// that is damaged or too big stays so.
func refusedForNow(err error) error {
	if errors.Is(err, state.ErrNoBundle) || errors.Is(err, loader.ErrCapacity) {
		return nil
	}
	if errors.As(err, new(unix.Errno)) || errors.Is(err, loader.ErrPermission) || errors.Is(err, loader.ErrReadBack) || errors.Is(err, loader.ErrUnsupported) {
		return errNoKnownGood
	}
	return nil
}

func (a *agent) buildKnown(d plane.Dataplane, work string, digest config.Digest, h *config.Host, host *loader.HostImage, beside ...uint8) (slot uint8, number uint32, err error) {
	err = a.ledger.Needed(work, func() error {
		b, err := a.ledger.Store().Bundle(digest)
		if err != nil {
			return err
		}
		slot, number, err = a.build(d, b, h, host, beside...)
		return err
	})
	return slot, number, err
}

func (a *agent) nextHostNumber(d plane.Dataplane) (uint32, error) {
	current, err := d.Host()
	if err != nil {
		return 0, err
	}
	if current == nil {
		return 1, nil
	}
	return current.Number + 1, nil
}

// adoptHost leaves the published host file alone when it is what the file on disk says, and publishes that otherwise:
// somebody edited the file while no agent ran.
func (a *agent) adoptHost(d plane.Dataplane) error {
	h := a.hostFile()
	host, err := plane.CompileHost(d, h, 0)
	if err != nil {
		return fmt.Errorf("compile host file: %w", err)
	}
	drift, err := d.VerifyHost(host)
	if err != nil {
		return fmt.Errorf("compare host file with the kernel: %w", err)
	}
	if len(drift) == 0 && d.Control().Mode == a.mode() {
		return nil
	}
	e := a.ledger.Entry(ledger.Itself(), "reload", "the host file changed while no agent ran")
	detail, err := a.publishHost(d, a.loaded(), a.mode())
	if err != nil {
		return err
	}
	e.Outcome, e.Detail = api.OutcomeDone, detail
	a.ledger.Audit(e)
	return nil
}

// publishHost builds the host file, and for it the stable set and a candidate that waits, and publishes all of them and the
// mode in one step. For a bundle that does not fit any more it publishes the host file alone: services keep their ids, so
// the bundles in the kernel go on to mean what they meant, and an allowlist line counts at once.
func (a *agent) publishHost(d plane.Dataplane, file *hostfile.File, mode bpf.Mode) (detail []string, err error) {
	h := file.Host
	seen := mark{epoch: d.Control().Epoch, wentBack: a.wentBack.Load()}
	host, hostSlot, err := a.buildHost(d, h)
	if err != nil {
		return nil, err
	}
	change := loader.Change{Host: &hostSlot, Mode: &mode, KeepPrevious: true, Seen: &seen.epoch}
	before, err := d.Host()
	if err != nil {
		return nil, err
	}
	stable, detail, err := a.buildStable(d, h, host)
	if err != nil {
		return nil, err
	}
	candidate, more, err := a.buildCandidate(d, h, host, stable)
	if err != nil {
		return nil, err
	}
	detail = append(detail, more...)
	a.swap.Lock()
	defer a.swap.Unlock()
	if err := a.moved(d, seen); err != nil {
		return nil, err
	}
	if err := a.publishRebuilt(d, change, stable, candidate); err != nil {
		return nil, a.publishError(fmt.Errorf("publish host file: %w", err))
	}
	_ = a.ledger.Update(func(r *state.Record) {
		r.HostDigest, r.ModeHeld = file.Digest, mode != view.ModeOf(h.MaxMode)
		r.HeldBack = r.HeldBack && r.ModeHeld
	})
	a.bypass.EndLeft(d, before, h)
	return append(detail, fmt.Sprintf("mode %s, %d services, host file number %d", view.ModeName(mode), len(h.Services), host.Number())), nil
}

// built is a bundle in a slot that nobody names yet.
type built struct {
	slot   uint8
	number uint32
	digest config.Digest
}

// renumber gives the record's names of a bundle its new number.
func (b *built) renumber(r *state.Record) {
	for _, known := range []*state.Generation{r.Applied, r.LastKnownGood} {
		if b != nil && known != nil && known.Digest == b.digest {
			known.Number = b.number
		}
	}
}

// buildStable builds the stable bundle again for another host file; nil when the one in the kernel goes on as it is.
func (a *agent) buildStable(d plane.Dataplane, h *config.Host, host *loader.HostImage) (*built, []string, error) {
	all, err := d.Generations()
	if err != nil {
		return nil, nil, err
	}
	c := d.Control()
	g, resident := view.InSlot(all, c.Stable)
	if !resident {
		return nil, nil, nil
	}
	slot, number, err := a.buildKnown(d, ledger.WorkRebuild, g.Digest, h, host)
	switch {
	case err == nil:
		return &built{slot, number, g.Digest}, nil, nil
	case errors.Is(err, state.ErrNoBundle):
		return nil, []string{"the stable bundle is not on disk: services that are new pass until the next apply"}, nil
	case refusedForNow(err) == nil && !addsService(a.hostFile(), h):
		return nil, []string{fmt.Sprintf("the stable bundle cannot be built for this host file and goes on as it is: %v", err)}, nil
	}
	return nil, nil, fmt.Errorf("build the stable bundle for the new host file: %w", err)
}

// buildCandidate does the same for a candidate that waits for its confirmation, beside the stable one that was built.
func (a *agent) buildCandidate(d plane.Dataplane, h *config.Host, host *loader.HostImage, stable *built) (*built, []string, error) {
	g, ok := a.candidate(d)
	if !ok {
		return nil, nil, nil
	}
	var beside []uint8
	if stable != nil {
		beside = append(beside, stable.slot)
	}
	slot, number, err := a.buildKnown(d, ledger.WorkRebuild, g.Digest, h, host, beside...)
	switch {
	case err == nil:
		return &built{slot, number, g.Digest}, nil, nil
	case errors.Is(err, state.ErrNoBundle), refusedForNow(err) == nil && !addsService(a.hostFile(), h):
		return nil, []string{fmt.Sprintf("the candidate cannot be built for this host file and goes on as it is: %v", err)}, nil
	}
	return nil, nil, fmt.Errorf("build the candidate for the new host file: %w", err)
}

// publishRebuilt puts generations that were built again into their places, in one store with what else changes. The swap
// lock is held. A candidate whose lease lapsed meanwhile stays where it is: it is held.
func (a *agent) publishRebuilt(d plane.Dataplane, change loader.Change, stable, candidate *built) error {
	if stable != nil {
		change.Stable, change.KeepPrevious = &stable.slot, true
	}
	confirm := a.ledger.Record().Confirm
	if candidate == nil || confirm == nil || confirm.Digest != candidate.digest || a.lapsed(d, confirm.Number) {
		if _, err := d.Publish(change); err != nil {
			return err
		}
		_ = a.ledger.Update(stable.renumber)
		return nil
	}
	change.Candidate = &candidate.slot
	before, next := *confirm, *confirm
	next.Number = candidate.number
	if err := a.ledger.Update(func(r *state.Record) { r.Confirm = &next }); err != nil {
		return err
	}
	lease, left := a.hostFile().Guards.Lease, loader.In(before.Deadline.Sub(a.now()))
	a.plane.Beat().Hold(next.Number, lease, left)
	if _, err := d.Publish(change); err != nil {
		a.plane.Beat().Hold(before.Number, lease, left)
		_ = a.ledger.Update(func(r *state.Record) { r.Confirm = &before })
		return err
	}
	a.rollouts.renumber(&before, &next)
	_ = a.ledger.Update(stable.renumber)
	return nil
}
