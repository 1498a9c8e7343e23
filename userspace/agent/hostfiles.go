// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/stages"
	"github.com/spillway/spillway/userspace/view"
)

// hostFiles puts host files in force: at a start, at a reload, and once what came in stages is accepted.
type hostFiles struct{ a *agent }

// take puts the host file on disk into force. The change lock is held for as long as that takes, and no longer: what
// comes in stages needs it.
func (hf hostFiles) take(ctx context.Context, r api.ReloadRequest) ([]string, *hostfile.File, error) {
	if r.Emergency && strings.TrimSpace(r.Reason) == "" {
		return nil, nil, &api.Error{Code: api.CodeInvalid, Message: "an emergency needs a reason; nothing changed",
			Fix: "spillway reload --emergency --reason WHY"}
	}
	d, done, err := hf.a.begin()
	if err != nil {
		return nil, nil, err
	}
	defer done()
	if err := api.Late(ctx); err != nil {
		return nil, nil, err
	}
	// Only now: of two reloads that wait for each other, the later must not publish what the file said before.
	file, err := hostfile.Read(hf.a.opts.HostPath)
	if err != nil {
		return nil, nil, api.Refuse("the host file is refused; the old one goes on", err)
	}
	old, next := hf.a.host.Host(), file.Host
	if fixed := hostfile.FixedChanges(old, next); len(fixed) > 0 {
		e := &api.Error{Code: api.CodeRefused,
			Message: "the old host file goes on: " + strings.Join(fixed, ", ") + " can only change with a restart of the agent",
			Fix:     "systemctl restart spillway (it touches no traffic)"}
		if small := hostfile.TooSmall(d, next.Capacity); len(small) > 0 {
			e.Message += "; and after the next reboot what is in force could not be built again, and everything would pass: " +
				strings.Join(small, "; ")
			e.Fix = "raise the capacity, or apply a smaller bundle first; then: " + e.Fix
		}
		return nil, nil, e
	}
	mode := view.ModeOf(next.MaxMode)
	if !r.Emergency {
		if err := hf.a.release.HostFiles().Stand(hf.a.host.File(), file, mode); err != nil {
			return nil, nil, err
		}
	}
	blocks := hostfile.Asked(d.Control().Mode, old, next)
	if was := hf.a.host.File(); !file.Stands && was.Since != nil { // what did not count yet counts now
		blocks = append(hostfile.InStages(was.Since.Host.Meet(old), next), blocks...)
	} else if !file.Stands {
		blocks = hostfile.NewlyBlocks(d.Control().Mode, old, next)
	}
	if r.Ask && len(blocks) > 0 {
		return nil, nil, hostfile.Held(blocks)
	}
	detail, err := hf.putInForce(d, file, mode)
	if err != nil {
		return nil, nil, err
	}
	for _, b := range blocks {
		detail = append(detail, "can newly block: "+b)
	}
	return detail, file, nil
}

// putInForce publishes a host file, and attaches to the interfaces that it adds: before, where everything counts there
// at once, and otherwise behind it, for until then what decides would count on them.
func (hf hostFiles) putInForce(d dataplane, file *hostfile.File, mode bpf.Mode) ([]string, error) {
	before, old := hf.a.host.File(), hf.a.host.Host()
	behind := file.Since != nil && d.Control().Mode == bpf.ModeEnforce
	hf.a.plane.Links.EndHolds()
	var attached []string
	var err error
	if !behind {
		if attached, err = hf.a.plane.Links.AttachNew(d, old, file.Host); err != nil {
			return nil, err
		}
	}
	detail, err := hf.a.release.PublishHost(d, file, mode)
	if err != nil {
		hf.a.plane.Links.Detach(d, attached)
		return nil, release.BuildError(err)
	}
	err = hf.a.plane.Links.Fresh(d, file)
	if err == nil && behind {
		_, err = hf.a.plane.Links.AttachNew(d, old, file.Host)
	}
	if err != nil && behind {
		return nil, hf.undo(d, before, err)
	}
	hf.a.host.Put(file)
	hf.a.host.Keep()
	hf.a.host.Look(d)
	hf.a.ledger.ClearProblem(ledger.ProblemHost)
	hf.a.ledger.ClearProblem(ledger.ProblemReload)
	hf.a.release.TellMode()
	return append(detail, hf.a.plane.Links.Detach(d, hostfile.Gone(old, file.Host))...), nil
}

// undo puts the host file before in force again, which enforced as well, and returns why.
func (hf hostFiles) undo(d dataplane, before *hostfile.File, why error) error {
	if _, err := hf.a.release.PublishHost(d, before, bpf.ModeEnforce); err != nil {
		return fmt.Errorf("%w; and the old host file could not be put into force again: %w", why, err)
	}
	return errors.Join(why, hf.a.plane.Links.Fresh(d, before))
}

// inStages lets come in stages what a host file newly lets be blocked, and says so.
func (hf hostFiles) inStages(by api.Caller, file *hostfile.File, r api.ReloadRequest) (detail []string) {
	stages.HostOf(hf.a.front).End(by)
	if file.Since == nil {
		if file.Stands {
			detail = append(detail, "comes in stages once this host enforces: "+
				strings.Join(hostfile.InStages(file.Before, file.Host), "; "))
		}
		return detail
	}
	what := strings.Join(hostfile.InStages(file.Since.Host, file.Host), "; ")
	ro, err := stages.HostOf(hf.a.front).Start(by, r.Reason, r.Reason)
	switch {
	case err != nil:
		return []string{"does not count yet: " + what, "it does not come in stages: " + err.Error()}
	case ro == nil:
		return []string{"comes in stages once a bundle is in force: " + what}
	case ro.State == api.RolloutHeld:
		return []string{fmt.Sprintf("does not count yet, for rollout %s is held (spillway rollout): %s", ro.ID, what)}
	}
	return []string{fmt.Sprintf("comes in stages, as rollout %s: %s", ro.ID, what)}
}

// stand gives the host file that the agent began with what it is compared with. Until published says so nothing is
// compiled for it: what is built meanwhile is behind. Where nobody can read what it is compared with, all of it is new,
// unless the kernel has it.
func (hf hostFiles) stand(d dataplane, empty bool) error {
	next := *hf.a.host.File()
	next.Unpublished = true
	err := hf.a.release.HostFiles().StandAtStart(&next, empty)
	if err != nil && !empty && hf.a.release.HostFiles().InForce(d, &next) {
		hf.a.log.Warn("the kernel has this host file, which counts for everybody", "unread", err)
		err = nil
	}
	if err != nil {
		next.Since = &compile.Since{Host: &config.Host{}, Change: config.Digest{1}}
	}
	hf.a.host.Put(&next)
	return err
}

// published says that the kernel has the host file that the agent began with.
func (hf hostFiles) published(d dataplane) error {
	next := *hf.a.host.File()
	next.Unpublished = false
	if err := hf.a.plane.Links.Fresh(d, &next); err != nil {
		return err
	}
	hf.a.host.Put(&next)
	return nil
}

// accept publishes the host file as one that counts for everybody, once what was compiled for its change is
// last-known-good.
func (hf hostFiles) accept(d dataplane) {
	next, err := hf.a.release.HostFiles().Accept(d)
	if err != nil {
		hf.a.acceptRetry.Failed(hf.a.now())
		hf.a.log.Warn("the host file is published again later, as one that counts for everybody", "error", err)
		return
	}
	hf.a.acceptRetry.Reset()
	if next == nil {
		return
	}
	hf.a.host.Put(next)
	if err := hf.a.plane.Links.Fresh(d, next); err != nil {
		hf.a.log.Warn("a new interface is taken for one for longer", "error", err)
	}
	hf.a.host.Keep()
}
