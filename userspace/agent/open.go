// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// tryOpen opens the dataplane and takes over what the kernel holds. A failure leaves what enforces as it is.
func (a *agent) tryOpen() {
	h := a.hostFile()
	if err := a.plane.Own(); err != nil {
		a.openRetry.Failed(a.now())
		a.stale.Store(errors.Is(err, loader.ErrStale))
		a.ledger.SetProblem(ledger.ProblemKernel, err.Error(), ledger.Fix(err))
		return
	}
	d, err := a.opts.open(loader.Options{Pins: h.Paths.Pins, Capacity: h.Capacity, Log: a.log})
	var held *errHeldUpgrade
	var away time.Duration
	if err == nil {
		away = d.Heartbeat() // of whoever lived before this agent
		a.change.Lock()
		err = a.takeOver(d)
		a.change.Unlock()
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}
	if err != nil {
		a.openRetry.Failed(a.now())
		a.stale.Store(errors.Is(err, loader.ErrStale))
		fix := ledger.Fix(err)
		if errors.As(err, &held) {
			fix = fixHeldUpgrade
		}
		if held != nil || errors.Is(err, loader.ErrForeignABI) {
			a.plane.LookBehind(held != nil)
		}
		a.ledger.SetProblem(ledger.ProblemKernel, err.Error(), fix)
		if log := loader.VerifierLog(err); log != "" {
			a.log.Debug("the verifier said", "log", log)
		}
		return
	}
	a.plane.LookAway()
	a.openRetry.Reset()
	a.ledger.ClearProblem(ledger.ProblemKernel)
	a.setWarnings(d.Warnings())
	a.plane.Install(d)
	a.change.Lock()
	defer a.change.Unlock()
	d, done, err := a.plane.Use()
	if err != nil {
		return
	}
	defer done()
	if d.Control().Host == bpf.SlotEmpty {
		a.plane.EndHolds() // new maps, after a reboot or a detach: no link was lost
	}
	a.adoptCounts(d)
	a.adopt(d, away)
	a.adopted.Store(true)
}

func (a *agent) setWarnings(warnings []string) {
	for i, w := range warnings {
		a.ledger.SetProblem(fmt.Sprintf("capacity_waits_%d", i), w, "run `spillway detach` and start again at a quiet hour, or leave it")
	}
}

// adopt makes the agent and the kernel agree: the kernel is right, except that a candidate whose lease is dead is
// withdrawn, and that a kernel which holds nothing gets last-known-good from disk.
func (a *agent) adopt(d plane.Dataplane, away time.Duration) {
	a.swap.Lock()
	a.takeNotes()
	a.adoptCandidate(d)
	a.adoptStable(d, away)
	a.swap.Unlock()
	for _, i := range a.hostFile().Interfaces {
		a.plane.Attach(d, i)
	}
	a.plane.DetachUnnamed(d)
	a.wired.Store(true)
	c := d.Control()
	fresh := c.Host == bpf.SlotEmpty
	a.blank = a.blank || fresh && a.ledger.Store().Unread() != nil
	if fresh || a.blank {
		a.bypass.Restore(d)
	}
	var err error
	if fresh || c.Stable == bpf.SlotEmpty {
		err = a.publishFromDisk(d)
	} else {
		err = a.adoptHost(d)
	}
	if err != nil && !errors.Is(err, errNoKnownGood) {
		a.ledger.SetProblem(ledger.ProblemHost, err.Error(), ledger.Fix(err))
	} else {
		a.ledger.ClearProblem(ledger.ProblemHost)
	}
	if (fresh || a.blank) && d.Control().Host != bpf.SlotEmpty {
		a.bypass.RestoreServices(d)
	}
	a.blank = a.blank && a.ledger.Store().Unread() != nil
	if err == nil {
		a.keepHost()
	}
	a.tellMode()
	a.bypass.Adopt(d)
	a.unadopted = err != nil
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
func (a *agent) adoptAgain(d plane.Dataplane) {
	if a.unadopted {
		a.adopt(d, 0)
	}
}

// adoptCandidate goes on with a candidate that is under a live lease and was started by this state; all others go back.
func (a *agent) adoptCandidate(d plane.Dataplane) {
	c, confirm := d.Control(), a.ledger.Record().Confirm
	all, err := d.Generations()
	if err != nil {
		a.ledger.SetProblem(ledger.ProblemVerify, err.Error(), ledger.Fix(err))
		return
	}
	g, resident := view.InSlot(all, c.Candidate)
	lease, left := d.Lease(), time.Duration(0)
	if confirm != nil {
		left = confirm.Deadline.Sub(a.now())
	}
	if resident && confirm != nil && confirm.Digest == g.Digest && left > 0 && d.Tripped() != g.Number &&
		a.plane.Beat().GoOn(g.Number, a.hostFile().Guards.Lease, loader.In(left)) {
		return
	}
	a.plane.Beat().Release()
	if c.Candidate == bpf.SlotEmpty && confirm == nil {
		return
	}
	if confirm != nil && !endedByDeadline(lease, left) {
		a.holdCandidate(d, confirm, "the agent was gone, and the kernel went back to stable by itself")
		return
	}
	e := a.ledger.Entry(ledger.Itself(), "confirm", "nobody confirmed in time; the agent was gone")
	e.Outcome = api.OutcomeRolledBack
	if resident {
		e.Digest, e.Number, e.Name = g.Digest, g.Number, a.ledger.NameOf(g.Digest)
	} else if confirm != nil {
		e.Digest, e.Number, e.Name = confirm.Digest, confirm.Number, confirm.Name()
	}
	if c.Candidate != bpf.SlotEmpty {
		if _, err := d.Withdraw(); err != nil && !errors.Is(err, loader.ErrNoCandidate) {
			a.ledger.SetProblem(ledger.ProblemVerify, err.Error(), ledger.Fix(err))
			return
		}
	}
	_ = a.ledger.Update(func(r *state.Record) {
		if confirm != nil {
			r.AddQuarantine(quarantined(confirm.Name(), confirm.Digest, &e))
		}
		r.Confirm = nil
	})
	a.countRollback()
	a.ledger.Audit(e)
}

// endedByDeadline reports whether the last lease of a candidate reached its deadline, which has left to go or is past: then
// nobody confirmed it while an agent lived. A lease that ended before is one that nobody renewed.
func endedByDeadline(lease loader.Deadline, left time.Duration) bool {
	return lease > 0 && int64(lease)+int64(clockSlack) >= int64(loader.Present())+int64(left)
}

// adoptStable writes down what the kernel has as stable when the record says something else, and lets a bake go on for
// as long as it still had when the last agent lived.
func (a *agent) adoptStable(d plane.Dataplane, away time.Duration) {
	c := d.Control()
	a.idle = c.Stable != bpf.SlotEmpty && c.Mode != bpf.DataplaneModeMODE_ENFORCE
	if a.reconcile(d) {
		return
	}
	if away > 0 && !a.ledger.Record().BakeUntil.IsZero() && d.Control().Stable != bpf.SlotEmpty {
		_ = a.ledger.Update(func(r *state.Record) { r.BakeUntil = r.BakeUntil.Add(away) })
	}
}

// reconcile records what somebody else did to the control word: the command line without an agent, or another tool.
func (a *agent) reconcile(d plane.Dataplane) bool {
	all, err := d.Generations()
	if err != nil {
		a.ledger.SetProblem(ledger.ProblemVerify, err.Error(), ledger.Fix(err))
		return false
	}
	g, resident := view.InSlot(all, d.Control().Stable)
	applied := a.ledger.Record().Applied
	if !resident || (applied != nil && applied.Digest == g.Digest && applied.Number == g.Number) {
		return false
	}
	a.ledger.EnsureKnown(g.Digest)
	e := a.ledger.Entry(ledger.Itself(), "apply", "")
	e.Outcome, e.Digest, e.Number, e.Name = api.OutcomeFound, g.Digest, g.Number, a.ledger.NameOf(g.Digest)
	if applied != nil {
		e.Detail = []string{fmt.Sprintf("the record had %s, number %d", applied.Digest.Short(), applied.Number)}
	}
	members, bake := a.ledger.RecordMembers(g.Digest), a.hostFile().Guards.Bake
	_ = a.ledger.Update(func(r *state.Record) {
		left := r.Applied
		found := state.Generation{Digest: g.Digest, Members: members, Number: g.Number, At: g.Built.UTC(), By: "found"}
		if left != nil && left.Digest != g.Digest && left.Number > g.Number { // numbers only go up: a lower one was gone back to
			r.RollBack(found, state.Quarantined{Name: left.Name(), Digest: left.Digest, At: a.now(), By: "found", Reason: "it was rolled back, and not by this agent"}, bake)
			return
		}
		r.Applied, r.LastNumber = &found, max(r.LastNumber, g.Number)
		if r.LastKnownGood == nil || r.LastKnownGood.Digest != g.Digest {
			r.BakeUntil = a.now().Add(bake).UTC()
		}
	})
	a.ledger.Audit(e)
	return true
}
