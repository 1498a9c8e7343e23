// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// settle ends what has a deadline: a candidate that nobody confirmed, a bake that is over. The change lock is held.
func (a *agent) settle(d plane.Dataplane) {
	a.plane.DetachUnnamed(d)
	a.watchClock(d)
	a.swap.Lock()
	a.takeNotes()
	a.expireCandidate(d)
	a.reconcile(d)
	a.swap.Unlock()
	a.settleRollouts()
	if a.awake() {
		a.holdBake(d)
		a.finishBake(d)
	}
	a.tellBaked(d)
	a.bypass.Adopt(d)
}

// expireCandidate takes back a candidate whose time is over, or whose lease lapsed. The kernel has already: its lease never
// reaches beyond the deadline. Who was not confirmed is quarantined as one that was rolled back is.
func (a *agent) expireCandidate(d plane.Dataplane) {
	confirm := a.ledger.Record().Confirm
	slot := d.Control().Candidate
	if confirm == nil && slot == bpf.SlotEmpty {
		return
	}
	if confirm != nil && slot != bpf.SlotEmpty {
		if a.lapsed(d, confirm.Number) {
			a.holdCandidate(d, confirm, "the agent did not renew its lease in time (it was stopped, starved or away), so the kernel went back to stable by itself")
			return
		}
		if a.now().Before(confirm.Deadline) {
			return
		}
	}
	if slot != bpf.SlotEmpty {
		if _, err := d.Withdraw(); err != nil && !errors.Is(err, loader.ErrNoCandidate) {
			a.ledger.SetProblem(ledger.ProblemVerify, err.Error(), ledger.Fix(err))
			return
		}
	}
	a.plane.Beat().Release()
	e := a.ledger.Entry(ledger.Itself(), "confirm", "nobody confirmed in time")
	e.Outcome = api.OutcomeRolledBack
	quarantine := confirm != nil && slot != bpf.SlotEmpty
	if confirm != nil {
		e.Digest, e.Name, e.Number = confirm.Digest, confirm.Name(), confirm.Number
		if slot == bpf.SlotEmpty {
			e.Reason, e.Outcome = "the candidate was ended by somebody else", api.OutcomeFound
		}
	} else {
		e.Reason = "a candidate that nobody here started"
	}
	_ = a.ledger.Update(func(r *state.Record) {
		if quarantine {
			r.AddQuarantine(quarantined(confirm.Name(), confirm.Digest, &e))
		}
		r.Confirm = nil
	})
	a.countRollback()
	a.ledger.Audit(e)
}

// lapsed reports whether the lease of the candidate ended before its deadline. It renews the lease as the heartbeat does:
// after a stop it is not certain which of the two runs first.
func (a *agent) lapsed(d plane.Dataplane, number uint32) bool {
	a.plane.Beat().Renew()
	return a.plane.Beat().Lapsed() == number || d.Tripped() == number
}

// holdCandidate ends a candidate that lapsed and says how it can be tried again.
func (a *agent) holdCandidate(d plane.Dataplane, c *state.Confirm, reason string) {
	d.SetTripped(c.Number) // before the word: at no moment may it decide again
	if d.Control().Candidate != bpf.SlotEmpty {
		if _, err := d.Withdraw(); err != nil && !errors.Is(err, loader.ErrNoCandidate) {
			a.ledger.SetProblem(ledger.ProblemVerify, err.Error(), ledger.Fix(err))
			return
		}
	}
	a.plane.Beat().Release()
	e := a.ledger.Entry(ledger.Itself(), "confirm", reason)
	e.Outcome, e.Digest, e.Name, e.Number = api.OutcomeHeld, c.Digest, c.Name(), c.Number
	_ = a.ledger.Update(func(r *state.Record) { r.Hold(c.Generation, e.At, reason) })
	a.countRollback()
	a.ledger.Audit(e)
}

// finishBake makes the stable bundle last-known-good once it has served for guards.bake.
func (a *agent) finishBake(d plane.Dataplane) {
	r := a.ledger.Record()
	if r.Applied == nil || r.BakeUntil.IsZero() || a.now().Before(r.BakeUntil) || a.plane.Beat().Stopped() || a.plane.Beat().Slept() > 0 {
		return // a stop may have come since awake
	}
	all, err := d.Generations()
	if err != nil {
		return
	}
	g, resident := view.InSlot(all, d.Control().Stable)
	if !resident || g.Digest != r.Applied.Digest {
		return
	}
	// The bundle must be whole on disk to be any good after a reboot.
	if err := a.ledger.Store().Whole(g.Digest); err != nil {
		a.ledger.SetProblem(ledger.ProblemLKG, fmt.Sprintf("%s has baked, and cannot become last-known-good: %v", config.Digest(g.Digest).Short(), err), "apply the bundle again")
		return
	}
	a.makeKnownGood(g.Digest)
	e := a.ledger.Entry(ledger.Itself(), "bake", "")
	e.Outcome, e.Digest, e.Name, e.Number = api.OutcomeDone, g.Digest, r.Applied.Name(), g.Number
	a.ledger.Audit(e)
	a.ledger.ClearProblem(ledger.ProblemLKG)
}

func (a *agent) makeKnownGood(digest config.Digest) {
	_ = a.ledger.Update(func(r *state.Record) {
		if r.Applied == nil || r.Applied.Digest != digest {
			return
		}
		known := *r.Applied
		known.At = a.now().UTC()
		r.LastKnownGood, r.BakeUntil = &known, time.Time{}
	})
}
