// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"fmt"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// settle ends what has a deadline: a candidate that nobody confirmed, a bake that is over. The change lock is held.
func (mg *Manager) settle(d Kernel) {
	mg.watchClock(d)
	mg.swap.Lock()
	mg.takeNotes()
	mg.expireCandidate(d)
	mg.reconcile(d)
	mg.swap.Unlock()
	mg.settleRollouts()
	if mg.awake() {
		mg.holdBake(d)
		mg.finishBake(d)
	}
	mg.tellBaked(d)
}

// expireCandidate takes back a candidate whose time is over, or whose lease lapsed. The kernel has already: its lease never
// reaches beyond the deadline. Who was not confirmed is quarantined as one that was rolled back is.
func (mg *Manager) expireCandidate(d Kernel) {
	confirm := mg.Ledger.Record().Confirm
	slot := d.Control().Candidate
	if confirm == nil && slot == bpf.SlotEmpty {
		return
	}
	if confirm != nil && slot != bpf.SlotEmpty {
		if mg.lapsed(d, confirm.Number) {
			mg.holdCandidate(d, confirm, "the agent did not renew its lease in time (it was stopped, starved or away), so the kernel went back to stable by itself")
			return
		}
		if mg.Ledger.Now().Before(confirm.Deadline) {
			return
		}
	}
	if slot != bpf.SlotEmpty {
		if _, err := d.Withdraw(); err != nil && !errors.Is(err, loader.ErrNoCandidate) {
			mg.Ledger.SetProblem(ledger.ProblemVerify, err.Error(), ledger.Fix(err))
			return
		}
	}
	mg.Lease().Release()
	e := mg.Ledger.Entry(ledger.Itself(), "confirm", "nobody confirmed in time")
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
	_ = mg.Ledger.Update(func(r *state.Record) {
		if quarantine {
			r.AddQuarantine(quarantined(confirm.Name(), confirm.Digest, &e))
		}
		r.Confirm = nil
	})
	mg.countRollback()
	mg.Ledger.Audit(e)
}

// lapsed reports whether the lease of the candidate ended before its deadline. It renews the lease as the heartbeat does:
// after a stop it is not certain which of the two runs first.
func (mg *Manager) lapsed(d Kernel, number uint32) bool {
	mg.Lease().Renew()
	return mg.Lease().Lapsed() == number || d.Tripped() == number
}

// holdCandidate ends a candidate that lapsed and says how it can be tried again.
func (mg *Manager) holdCandidate(d Kernel, c *state.Confirm, reason string) {
	d.SetTripped(c.Number) // before the word: at no moment may it decide again
	if d.Control().Candidate != bpf.SlotEmpty {
		if _, err := d.Withdraw(); err != nil && !errors.Is(err, loader.ErrNoCandidate) {
			mg.Ledger.SetProblem(ledger.ProblemVerify, err.Error(), ledger.Fix(err))
			return
		}
	}
	mg.Lease().Release()
	e := mg.Ledger.Entry(ledger.Itself(), "confirm", reason)
	e.Outcome, e.Digest, e.Name, e.Number = api.OutcomeHeld, c.Digest, c.Name(), c.Number
	_ = mg.Ledger.Update(func(r *state.Record) { r.Hold(c.Generation, e.At, reason) })
	mg.countRollback()
	mg.Ledger.Audit(e)
}

// finishBake makes the stable bundle last-known-good once it has served for guards.bake.
func (mg *Manager) finishBake(d Kernel) {
	r := mg.Ledger.Record()
	if r.Applied == nil || r.BakeUntil.IsZero() || mg.Ledger.Now().Before(r.BakeUntil) || mg.Lease().Stopped() || mg.Lease().Slept() > 0 {
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
	if err := mg.Disk.Whole(g.Digest); err != nil {
		mg.Ledger.SetProblem(ledger.ProblemLKG, fmt.Sprintf("%s has baked, and cannot become last-known-good: %v", config.Digest(g.Digest).Short(), err), "apply the bundle again")
		return
	}
	mg.makeKnownGood(g.Digest)
	e := mg.Ledger.Entry(ledger.Itself(), "bake", "")
	e.Outcome, e.Digest, e.Name, e.Number = api.OutcomeDone, g.Digest, r.Applied.Name(), g.Number
	mg.Ledger.Audit(e)
	mg.Ledger.ClearProblem(ledger.ProblemLKG)
}

func (mg *Manager) makeKnownGood(digest config.Digest) {
	_ = mg.Ledger.Update(func(r *state.Record) {
		if r.Applied == nil || r.Applied.Digest != digest {
			return
		}
		known := *r.Applied
		known.At = mg.Ledger.Now().UTC()
		r.LastKnownGood, r.BakeUntil = &known, time.Time{}
	})
}
