// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/release"
)

// tryOpen opens the dataplane and takes over what the kernel holds. A failure leaves what enforces as it is.
func (a *agent) tryOpen() {
	h := a.host.Host()
	if err := a.plane.Own(); err != nil {
		a.openRetry.Failed(a.now())
		a.stale.Store(errors.Is(err, loader.ErrStale))
		a.ledger.SetProblem(ledger.ProblemKernel, err.Error(), ledger.Fix(err))
		return
	}
	d, err := a.opts.open(loader.Options{Pins: h.Paths.Pins, Capacity: h.Capacity, Log: a.log})
	var held *release.HeldUpgradeError
	var away time.Duration
	if err == nil {
		away = d.Heartbeat() // of whoever lived before this agent
		err = a.takeOver(d)
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}
	if err != nil {
		a.openRetry.Failed(a.now())
		a.stale.Store(errors.Is(err, loader.ErrStale))
		fix := ledger.Fix(err)
		if errors.As(err, &held) {
			fix = release.FixHeldUpgrade
		}
		if held != nil || errors.Is(err, loader.ErrForeignABI) {
			a.plane.LookBehind(held != nil)
		}
		a.ledger.SetProblem(ledger.ProblemKernel, err.Error(), fix)
		if log := kernel.VerifierLog(err); log != "" {
			a.log.Debug("the verifier said", "log", log)
		}
		return
	}
	a.plane.LookAway()
	a.openRetry.Reset()
	a.ledger.ClearProblem(ledger.ProblemKernel)
	a.setWarnings(d.Warnings())
	a.plane.Install(d)
	a.release.Change().Lock()
	defer a.release.Change().Unlock()
	d, done, err := a.use()
	if err != nil {
		return
	}
	defer done()
	if d.Control().Host == bpf.SlotEmpty {
		a.plane.Links.EndHolds() // new maps, after a reboot or a detach: no link was lost
	}
	if err := a.leaveCondemned(d); err != nil {
		a.ledger.SetProblem(ledger.ProblemVerify, err.Error(), ledger.Fix(err))
	}
	a.totals.Adopt(d)
	a.adopt(d, away)
	a.adopted.Store(true)
}

func (a *agent) setWarnings(warnings []string) {
	for i, w := range warnings {
		a.ledger.SetProblem(fmt.Sprintf("capacity_waits_%d", i), w,
			"run `spillway detach` and start again at a quiet hour, or leave it")
	}
}

// adopt makes the agent and the kernel agree: the kernel is right, except that a candidate whose lease is dead is
// withdrawn, and that a kernel which holds nothing gets last-known-good from disk.
func (a *agent) adopt(d dataplane, away time.Duration) {
	refused := a.release.Adopt(d, away)
	if refused != nil {
		a.ledger.SetProblem(ledger.ProblemVerify, refused.Error(), ledger.Fix(refused))
	}
	c := d.Control()
	fresh := c.Host == bpf.SlotEmpty
	err := (hostFiles{a}).stand(d, fresh)
	a.plane.Links.AttachNamed(d)
	a.plane.Links.DetachUnnamed(d)
	a.wired.Store(true)
	a.blank = a.blank || fresh && a.store.Unread() != nil
	if fresh || a.blank {
		a.bypass.Restore(d)
	}
	switch {
	case err != nil:
	case fresh || c.Stable == bpf.SlotEmpty:
		err = a.release.PublishFromDisk(d, a.unadopted)
	default:
		err = a.release.AdoptHost(d)
	}
	if err == nil || errors.Is(err, release.ErrNoKnownGood) {
		if ferr := (hostFiles{a}).published(d); ferr != nil {
			err = ferr
		} else {
			a.plane.Links.AttachFresh(d)
		}
	}
	if err != nil && !errors.Is(err, release.ErrNoKnownGood) {
		a.ledger.SetProblem(ledger.ProblemHost, err.Error(), ledger.Fix(err))
	} else {
		a.ledger.ClearProblem(ledger.ProblemHost)
	}
	if (fresh || a.blank) && d.Control().Host != bpf.SlotEmpty {
		a.bypass.RestoreServices(d)
	}
	a.blank = a.blank && a.store.Unread() != nil
	if err == nil {
		a.host.Keep()
	}
	a.release.TellMode()
	a.bypass.Adopt(d)
	a.unadopted = err != nil || refused != nil || a.boot.leaves.Load() != nil
	if err := a.bans.Adopt(d); err != nil {
		a.ledger.SetProblem(ledger.ProblemBans, err.Error(), ledger.Fix(err))
		a.unadopted = true
	} else {
		a.ledger.ClearProblem(ledger.ProblemBans)
	}
	if a.unadopted {
		a.adoptRetry.Failed(a.now())
	} else {
		a.adoptRetry.Reset()
	}
}

// adoptAgain does again what adoption could not do: the kernel may have refused for a moment only, and a host whose
// memory was full at its start must not pass everything until a person comes by.
func (a *agent) adoptAgain(d dataplane) {
	if a.unadopted {
		_ = a.leaveCondemned(d)
		a.adopt(d, 0)
	}
}

// takeOver puts a dataplane in force that was made beside one of another layout.
func (a *agent) takeOver(d dataplane) error {
	if d.Predecessor() == nil {
		return nil
	}
	if err := (hostFiles{a}).stand(d, false); err != nil {
		return err
	}
	beat := plane.StartHeartbeat(d) // building takes its time
	defer beat.Close()
	return a.release.TakeOver(d, a.boot.leaves.Load())
}
