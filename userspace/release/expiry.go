// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
)

// expire takes back a candidate whose time is over, or whose lease lapsed. The kernel has already: its lease never
// reaches beyond the deadline. Who was not confirmed is quarantined as one that was rolled back is.
func (ca *candidates) expire(d trial) {
	confirm := ca.ledger.Record().Confirm
	slot := d.Control().Candidate
	if confirm == nil && slot == bpf.SlotEmpty || ca.elsewhere(d) {
		return
	}
	if confirm != nil && slot != bpf.SlotEmpty {
		if ca.lapsed(d, confirm.Number) {
			ca.hold(d,
				confirm, "the agent did not renew its lease in time (it was stopped, starved or away), so the kernel went back to stable by itself")
			return
		}
		if ca.ledger.Now().Before(confirm.Deadline) {
			return
		}
	}
	if slot != bpf.SlotEmpty {
		if _, err := d.Withdraw(); err != nil && !errors.Is(err, loader.ErrNoCandidate) {
			ca.ledger.SetProblem(ledger.ProblemVerify, err.Error(), ledger.Fix(err))
			return
		}
	}
	ca.lease().Release()
	e := ca.ledger.Entry(ledger.Itself(), "confirm", "nobody confirmed in time")
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
	_ = ca.ledger.Update(func(r *state.Record) {
		if quarantine {
			r.AddQuarantine(quarantined(confirm.Name(), confirm.Digest, &e))
		}
		r.Confirm = nil
	})
	ca.tally.rolledBack()
	ca.ledger.Audit(e)
}

// lapsed reports whether the lease of the candidate ended before its deadline. It renews the lease as the heartbeat
// does: after a stop it is not certain which of the two runs first.
func (ca *candidates) lapsed(d trial, number uint32) bool {
	ca.lease().Renew()
	return ca.lease().Lapsed() == number || d.Tripped().Has(number)
}

// hold ends a candidate that lapsed and says how it can be tried again.
func (ca *candidates) hold(d trial, c *state.Confirm, reason string) {
	d.SetTripped(c.Number) // before the word: at no moment may it decide again
	if d.Control().Candidate != bpf.SlotEmpty {
		if _, err := d.Withdraw(); err != nil && !errors.Is(err, loader.ErrNoCandidate) {
			ca.ledger.SetProblem(ledger.ProblemVerify, err.Error(), ledger.Fix(err))
			return
		}
	}
	ca.lease().Release()
	e := ca.ledger.Entry(ledger.Itself(), "confirm", reason)
	e.Outcome, e.Digest, e.Name, e.Number = api.OutcomeHeld, c.Digest, c.Name(), c.Number
	_ = ca.ledger.Update(func(r *state.Record) { r.Hold(c.Generation, e.At, reason) })
	ca.tally.rolledBack()
	ca.ledger.Audit(e)
}
