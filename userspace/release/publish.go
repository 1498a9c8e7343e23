// SPDX-License-Identifier: Apache-2.0

package release

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
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// nextNumber returns a generation number that nobody had: more than any resident one and any that the record has seen.
func (mg *Manager) nextNumber(d Kernel) (uint32, error) {
	n, err := d.NextNumber()
	if err != nil {
		return 0, err
	}
	return max(n, mg.Ledger.Record().LastNumber+1), nil
}

// build compiles a bundle for a host file and builds it aside. It publishes nothing.
func (mg *Manager) build(d Kernel, b *config.Bundle, h *config.Host, host *loader.HostImage, beside ...uint8) (slot uint8, number uint32, err error) {
	if number, err = mg.nextNumber(d); err != nil {
		return 0, 0, err
	}
	own, err := mg.Own()
	if err != nil {
		return 0, 0, err // without them a bundle could block this host
	}
	here, because := b.LeaveOut(config.Protected(h, own))
	at := mg.Clock()
	img, err := loader.CompileBundle(here, host, number, at)
	if err != nil {
		return 0, 0, err
	}
	mg.Count(d)
	if slot, err = d.Build(img, beside...); err != nil {
		return 0, 0, err
	}
	mg.Keep(img)
	mg.Ledger.Learn(b.Digest, b.Name, b.Rules)
	made := compiled(img, at, host.Context(), here.OmittedProtected, because)
	resident, lerr := d.Generations()
	_ = mg.Ledger.Update(func(r *state.Record) {
		r.LastNumber = number
		r.Compiled = append(r.Compiled, made)
		if lerr == nil {
			r.Compiled = slices.DeleteFunc(r.Compiled, func(c state.Compiled) bool { return !isResident(resident, c.Number) })
		}
	})
	return slot, number, nil
}

// buildHost compiles a host file under the next number and builds it aside. It publishes nothing.
func (mg *Manager) buildHost(d Kernel, h *config.Host) (*loader.HostImage, uint8, error) {
	number, err := mg.nextHostNumber(d)
	if err != nil {
		return nil, 0, err
	}
	host, err := hostfile.Compile(d, h, number)
	if err != nil {
		return nil, 0, fmt.Errorf("compile host file: %w", err)
	}
	slot, err := d.BuildHost(host)
	if err != nil {
		return nil, 0, fmt.Errorf("build host file: %w", err)
	}
	return host, slot, nil
}

// PublishFromDisk fills an empty kernel: the host file, and the bundle that comes back. Without one,
// everything passes.
func (mg *Manager) PublishFromDisk(d Kernel, again bool) error {
	seen := d.Control().Epoch
	file := mg.File()
	h := file.Host
	host, hostSlot, err := mg.buildHost(d, h)
	if err != nil {
		return err
	}
	known, mode := mg.comeback()
	change := loader.Change{Host: &hostSlot, Mode: &mode, Seen: &seen}
	e := mg.Ledger.Entry(ledger.Itself(), "start", "the kernel held nothing")
	e.Outcome = api.OutcomeDone
	var later error
	if known != nil {
		e.Digest, e.Name = known.Digest, known.Name()
		slot, number, err := mg.buildKnown(d, ledger.WorkRestore, known.Digest, h, host)
		if err != nil {
			if later = refusedForNow(err); later != nil && again && d.Control().Host != bpf.SlotEmpty {
				return later // the host file is in force since the first attempt
			}
			if !mg.Ledger.Record().HeldBack {
				mode = view.ModeOf(h.MaxMode) // there is nothing that must only observe
			}
			e.Detail = append(e.Detail, err.Error())
			mg.Ledger.SetProblem(ledger.ProblemLKG, fmt.Sprintf("last-known-good %s cannot be used, so no bundle is in force: %v", known.Digest.Short(), err), "spillway apply BUNDLE")
		} else {
			change.Stable, e.Number = &slot, number
			mg.Ledger.ClearProblem(ledger.ProblemLKG)
		}
	}
	mg.swap.Lock()
	defer mg.swap.Unlock()
	if _, err := d.Publish(change); err != nil {
		return fmt.Errorf("publish host file: %w", err)
	}
	_ = mg.Ledger.Update(func(r *state.Record) {
		r.HostDigest, r.ModeHeld = file.Digest, mode != view.ModeOf(h.MaxMode)
		r.HeldBack = r.HeldBack && r.ModeHeld
		if change.Stable != nil {
			r.Applied = &state.Generation{Digest: known.Digest, Members: known.Members, Number: e.Number, At: mg.Ledger.Now().UTC(), By: "agent"}
			if r.LastKnownGood != nil && r.LastKnownGood.Digest == known.Digest {
				r.LastKnownGood.Number, r.BakeUntil = e.Number, time.Time{}
			}
		}
	})
	mg.Ledger.Audit(e)
	return later
}

// ErrNoKnownGood says that the host file is published, and last-known-good could not be built this time.
var ErrNoKnownGood = errors.New("last-known-good could not be built")

// refusedForNow returns ErrNoKnownGood when it was the kernel that refused: it may do so for a moment only. A bundle
// that is damaged or too big stays so.
func refusedForNow(err error) error {
	if errors.Is(err, state.ErrNoBundle) || errors.Is(err, loader.ErrCapacity) {
		return nil
	}
	if errors.As(err, new(unix.Errno)) || errors.Is(err, loader.ErrPermission) || errors.Is(err, loader.ErrReadBack) || errors.Is(err, loader.ErrUnsupported) {
		return ErrNoKnownGood
	}
	return nil
}

func (mg *Manager) buildKnown(d Kernel, work string, digest config.Digest, h *config.Host, host *loader.HostImage, beside ...uint8) (slot uint8, number uint32, err error) {
	err = mg.Ledger.Needed(work, func() error {
		b, err := mg.Disk.Bundle(digest)
		if err != nil {
			return err
		}
		slot, number, err = mg.build(d, b, h, host, beside...)
		return err
	})
	return slot, number, err
}

func (mg *Manager) nextHostNumber(d Kernel) (uint32, error) {
	current, err := d.Host()
	if err != nil {
		return 0, err
	}
	if current == nil {
		return 1, nil
	}
	return current.Number + 1, nil
}

// AdoptHost leaves the published host file alone when it is what the file on disk says, and publishes that otherwise:
// somebody edited the file while no agent ran.
func (mg *Manager) AdoptHost(d Kernel) error {
	h := mg.Host()
	host, err := hostfile.Compile(d, h, 0)
	if err != nil {
		return fmt.Errorf("compile host file: %w", err)
	}
	drift, err := d.VerifyHost(host)
	if err != nil {
		return fmt.Errorf("compare host file with the kernel: %w", err)
	}
	if len(drift) == 0 && d.Control().Mode == mg.mode() {
		return nil
	}
	e := mg.Ledger.Entry(ledger.Itself(), "reload", "the host file changed while no agent ran")
	detail, err := mg.PublishHost(d, mg.File(), mg.mode())
	if err != nil {
		return err
	}
	e.Outcome, e.Detail = api.OutcomeDone, detail
	mg.Ledger.Audit(e)
	return nil
}

// PublishHost builds the host file, and for it the stable set and a candidate that waits, and publishes all of them and the
// mode in one step. For a bundle that does not fit any more it publishes the host file alone: services keep their ids, so
// the bundles in the kernel go on to mean what they meant, and an allowlist line counts at once.
func (mg *Manager) PublishHost(d Kernel, file *hostfile.File, mode bpf.Mode) (detail []string, err error) {
	h := file.Host
	seen := mark{epoch: d.Control().Epoch, wentBack: mg.wentBack.Load()}
	host, hostSlot, err := mg.buildHost(d, h)
	if err != nil {
		return nil, err
	}
	change := loader.Change{Host: &hostSlot, Mode: &mode, KeepPrevious: true, Seen: &seen.epoch}
	before, err := d.Host()
	if err != nil {
		return nil, err
	}
	stable, detail, err := mg.buildStable(d, h, host)
	if err != nil {
		return nil, err
	}
	candidate, more, err := mg.buildCandidate(d, h, host, stable)
	if err != nil {
		return nil, err
	}
	detail = append(detail, more...)
	mg.swap.Lock()
	defer mg.swap.Unlock()
	if err := mg.moved(d, seen); err != nil {
		return nil, err
	}
	if err := mg.publishRebuilt(d, change, stable, candidate); err != nil {
		return nil, mg.publishError(fmt.Errorf("publish host file: %w", err))
	}
	_ = mg.Ledger.Update(func(r *state.Record) {
		r.HostDigest, r.ModeHeld = file.Digest, mode != view.ModeOf(h.MaxMode)
		r.HeldBack = r.HeldBack && r.ModeHeld
	})
	mg.EndBypasses(d, before, h)
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
func (mg *Manager) buildStable(d Kernel, h *config.Host, host *loader.HostImage) (*built, []string, error) {
	all, err := d.Generations()
	if err != nil {
		return nil, nil, err
	}
	c := d.Control()
	g, resident := view.InSlot(all, c.Stable)
	if !resident {
		return nil, nil, nil
	}
	slot, number, err := mg.buildKnown(d, ledger.WorkRebuild, g.Digest, h, host)
	switch {
	case err == nil:
		return &built{slot, number, g.Digest}, nil, nil
	case errors.Is(err, state.ErrNoBundle):
		return nil, []string{"the stable bundle is not on disk: services that are new pass until the next apply"}, nil
	case refusedForNow(err) == nil && !addsService(mg.Host(), h):
		return nil, []string{fmt.Sprintf("the stable bundle cannot be built for this host file and goes on as it is: %v", err)}, nil
	}
	return nil, nil, fmt.Errorf("build the stable bundle for the new host file: %w", err)
}

// buildCandidate does the same for a candidate that waits for its confirmation, beside the stable one that was built.
func (mg *Manager) buildCandidate(d Kernel, h *config.Host, host *loader.HostImage, stable *built) (*built, []string, error) {
	g, ok := mg.candidate(d)
	if !ok {
		return nil, nil, nil
	}
	var beside []uint8
	if stable != nil {
		beside = append(beside, stable.slot)
	}
	slot, number, err := mg.buildKnown(d, ledger.WorkRebuild, g.Digest, h, host, beside...)
	switch {
	case err == nil:
		return &built{slot, number, g.Digest}, nil, nil
	case errors.Is(err, state.ErrNoBundle), refusedForNow(err) == nil && !addsService(mg.Host(), h):
		return nil, []string{fmt.Sprintf("the candidate cannot be built for this host file and goes on as it is: %v", err)}, nil
	}
	return nil, nil, fmt.Errorf("build the candidate for the new host file: %w", err)
}

// publishRebuilt puts generations that were built again into their places, in one store with what else changes. The swap
// lock is held. A candidate whose lease lapsed meanwhile stays where it is: it is held.
func (mg *Manager) publishRebuilt(d Kernel, change loader.Change, stable, candidate *built) error {
	if stable != nil {
		change.Stable, change.KeepPrevious = &stable.slot, true
	}
	confirm := mg.Ledger.Record().Confirm
	if candidate == nil || confirm == nil || confirm.Digest != candidate.digest || mg.lapsed(d, confirm.Number) {
		if _, err := d.Publish(change); err != nil {
			return err
		}
		_ = mg.Ledger.Update(stable.renumber)
		return nil
	}
	change.Candidate = &candidate.slot
	before, next := *confirm, *confirm
	next.Number = candidate.number
	if err := mg.Ledger.Update(func(r *state.Record) { r.Confirm = &next }); err != nil {
		_ = mg.Ledger.Update(func(r *state.Record) { r.Confirm = &before })
		return err
	}
	lease, left := mg.Host().Guards.Lease, loader.In(before.Deadline.Sub(mg.Ledger.Now()))
	mg.Lease().Hold(next.Number, lease, left)
	if _, err := d.Publish(change); err != nil {
		mg.Lease().Hold(before.Number, lease, left)
		_ = mg.Ledger.Update(func(r *state.Record) { r.Confirm = &before })
		return err
	}
	mg.rollouts.renumber(&before, &next)
	_ = mg.Ledger.Update(stable.renumber)
	return nil
}
