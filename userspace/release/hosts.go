// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// hosts publishes host files, with the bundles that are built for them.
type hosts struct {
	*site
	swap        *swap
	builder     *builder
	candidates  *candidates
	modes       *modes
	endBypasses func(k Kernel, before *compile.HostInfo, next *config.Host)
	disk        setFiles
	before      *before
	use         func() (Kernel, func(), error)
}

// again puts the stable bundle, compiled now, into the place of stable.
func (ho *hosts) again(d Kernel) (number uint32, err error) {
	seen := ho.swap.seen(d)
	f := ho.file()
	h := f.Host
	host, err := hostfile.Compile(d, f, 0)
	if err != nil {
		return 0, err
	}
	stable, _, err := ho.builder.stable(d, h, host)
	if err != nil || stable == nil {
		return 0, err
	}
	candidate, _, err := ho.builder.candidate(d, h, host, stable)
	if err != nil {
		return 0, err
	}
	ho.swap.Lock()
	defer ho.swap.Unlock()
	if err := ho.swap.moved(d, seen); err != nil {
		return 0, err
	}
	return stable.number, ho.candidates.publishRebuilt(d, loader.Change{Seen: &seen.epoch}, stable, candidate)
}

// fromDisk fills an empty kernel: the host file, and the bundle that comes back. Without one,
// everything passes.
func (ho *hosts) fromDisk(d Kernel, again bool) error {
	seen := d.Control().Epoch
	file := ho.file()
	h := file.Host
	host, hostSlot, err := ho.builder.hostFile(d, file)
	if err != nil {
		return err
	}
	known, mode := ho.modes.comeback()
	change := loader.Change{Host: &hostSlot, Mode: &mode, Seen: &seen}
	e := ho.ledger.Entry(ledger.Itself(), "start", "the kernel held nothing")
	e.Outcome = api.OutcomeDone
	var later error
	if known != nil {
		e.Digest, e.Name = known.Digest, known.Name()
		slot, number, err := ho.builder.known(d, ledger.WorkRestore, known.Digest, h, host)
		if err != nil {
			if later = refusedForNow(err); later != nil && again && d.Control().Host != bpf.SlotEmpty {
				return later // the host file is in force since the first attempt
			}
			if !ho.ledger.Record().HeldBack {
				mode = view.ModeOf(h.MaxMode) // there is nothing that must only observe
			}
			e.Detail = append(e.Detail, err.Error())
			ho.ledger.SetProblem(ledger.ProblemLKG,
				fmt.Sprintf("last-known-good %s cannot be used, so no bundle is in force: %v", known.Digest.Short(), err),
				"spillway apply BUNDLE")
		} else {
			change.Stable, e.Number = &slot, number
			ho.ledger.ClearProblem(ledger.ProblemLKG)
		}
	}
	ho.swap.Lock()
	defer ho.swap.Unlock()
	if _, err := d.Publish(change); err != nil {
		return fmt.Errorf("publish host file: %w", err)
	}
	note := ho.before.published(file)
	_ = ho.ledger.Update(func(r *state.Record) {
		note(r)
		r.ModeHeld = mode != view.ModeOf(h.MaxMode)
		r.HeldBack = r.HeldBack && r.ModeHeld
		if change.Stable != nil {
			r.Applied = &state.Generation{Digest: known.Digest, Members: known.Members, Number: e.Number,
				At: ho.ledger.Now().UTC(), By: "agent"}
			if r.LastKnownGood != nil && r.LastKnownGood.Digest == known.Digest {
				r.LastKnownGood.Number, r.BakeUntil = e.Number, time.Time{}
			}
		}
	})
	ho.before.settle(file)
	ho.ledger.Audit(e)
	return later
}

// adopt leaves the published host file alone when it is what the file on disk says, and publishes that otherwise:
// somebody edited the file while no agent ran.
func (ho *hosts) adopt(d Kernel) error {
	host, err := hostfile.Compile(d, ho.file(), 0)
	if err != nil {
		return fmt.Errorf("compile host file: %w", err)
	}
	drift, err := d.VerifyHost(host)
	if err != nil {
		return fmt.Errorf("compare host file with the kernel: %w", err)
	}
	if len(drift) == 0 && d.Control().Mode == ho.modes.mode() {
		if file := ho.file(); ho.ledger.Record().HostDigest != file.Digest {
			return ho.ledger.Update(ho.before.published(file))
		}
		return nil
	}
	e := ho.ledger.Entry(ledger.Itself(), "reload", "the host file changed while no agent ran")
	detail, err := ho.publish(d, ho.file(), ho.modes.mode())
	if err != nil {
		return err
	}
	e.Outcome, e.Detail = api.OutcomeDone, detail
	ho.ledger.Audit(e)
	return nil
}

// publish builds the host file, and for it the stable set and a candidate that waits, and publishes all of them and the
// mode in one step. For a bundle that does not fit any more it publishes the host file alone: services keep their ids,
// so the bundles in the kernel go on to mean what they meant, and an allowlist line counts at once.
func (ho *hosts) publish(d Kernel, file *hostfile.File, mode bpf.Mode) (detail []string, err error) {
	h := file.Host
	if ho.unproven(d, h, mode) {
		return ho.enforce(d, file)
	}
	seen := ho.swap.seen(d)
	host, hostSlot, err := ho.builder.hostFile(d, file)
	if err != nil {
		return nil, err
	}
	change := loader.Change{Host: &hostSlot, Mode: &mode, KeepPrevious: true, Seen: &seen.epoch}
	before, err := d.Host()
	if err != nil {
		return nil, err
	}
	stable, detail, err := ho.builder.stable(d, h, host)
	if err != nil {
		return nil, err
	}
	candidate, more, err := ho.builder.candidate(d, h, host, stable)
	if err != nil {
		return nil, err
	}
	detail = append(detail, more...)
	ho.swap.Lock()
	defer ho.swap.Unlock()
	if err := ho.swap.moved(d, seen); err != nil {
		return nil, err
	}
	if err := ho.candidates.publishRebuilt(d, change, stable, candidate); err != nil {
		return nil, publishError(fmt.Errorf("publish host file: %w", err))
	}
	note := ho.before.published(file)
	_ = ho.ledger.Update(func(r *state.Record) {
		note(r)
		r.ModeHeld = mode != view.ModeOf(h.MaxMode)
		r.HeldBack = r.HeldBack && r.ModeHeld
	})
	ho.before.settle(file)
	ho.endBypasses(d, before, h)
	return append(detail,
		fmt.Sprintf("mode %s, %d services, host file number %d", view.ModeName(mode), len(h.Services), host.Number())), nil
}
