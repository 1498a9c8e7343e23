// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// adopt goes on with a candidate that is under a live lease and was started by this state; all others go back. What the
// kernel refuses now is tried again: a candidate that nobody goes on with ends with its lease, and nothing was wrong
// with it.
func (ca *candidates) adopt(d trial) error {
	c, confirm := d.Control(), ca.ledger.Record().Confirm
	all, err := d.Generations()
	if err != nil {
		return err
	}
	g, resident := view.InSlot(all, c.Candidate)
	if resident && ca.stage.Owns(g.Number) {
		return nil
	}
	lease, left := d.Lease(), time.Duration(0)
	if confirm != nil {
		left = confirm.Deadline.Sub(ca.ledger.Now())
	}
	if resident && confirm != nil && confirm.Digest == g.Digest && left > 0 && !d.Tripped().Has(g.Number) &&
		ca.lease().GoOn(g.Number, ca.host().Guards.Lease, loader.In(left)) {
		if confirm.Number != g.Number { // an agent died between the record and the word
			_ = ca.ledger.Update(func(r *state.Record) { r.Confirm.Number = g.Number })
		}
		return nil
	}
	ca.lease().Release()
	if c.Candidate == bpf.SlotEmpty && confirm == nil {
		return nil
	}
	if confirm != nil && !endedByDeadline(lease, left) {
		ca.hold(d, confirm, "the agent was gone, and the kernel went back to stable by itself")
		return nil
	}
	e := ca.ledger.Entry(ledger.Itself(), "confirm", "nobody confirmed in time; the agent was gone")
	e.Outcome = api.OutcomeRolledBack
	if resident {
		e.Digest, e.Number, e.Name = g.Digest, g.Number, ca.ledger.NameOf(g.Digest)
	} else if confirm != nil {
		e.Digest, e.Number, e.Name = confirm.Digest, confirm.Number, confirm.Name()
	}
	if c.Candidate != bpf.SlotEmpty {
		if _, err := d.Withdraw(); err != nil && !errors.Is(err, loader.ErrNoCandidate) {
			return err
		}
	}
	_ = ca.ledger.Update(func(r *state.Record) {
		if confirm != nil {
			r.AddQuarantine(quarantined(confirm.Name(), confirm.Digest, &e))
		}
		r.Confirm = nil
	})
	ca.tally.rolledBack()
	ca.ledger.Audit(e)
	return nil
}

// endedByDeadline reports whether the last lease of a candidate reached its deadline, which has left to go or is past:
// then nobody confirmed it while an agent lived. A lease that ended before is one that nobody renewed.
func endedByDeadline(lease loader.Deadline, left time.Duration) bool {
	return lease > 0 && int64(lease)+int64(clockSlack) >= int64(loader.Present())+int64(left)
}
