// SPDX-License-Identifier: Apache-2.0

package release

import (
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/state"
)

// publishRebuilt puts generations that were built again into their places, in one store with what else changes. The
// swap lock is held. A candidate whose lease lapsed meanwhile stays where it is: it is held.
func (ca *candidates) publishRebuilt(d trial, change loader.Change, stable, candidate *built) error {
	if stable != nil {
		change.Stable, change.KeepPrevious = &stable.slot, true
		change.Rebuilt = loader.Rebuilt{Was: stable.was, Now: stable.number}
	}
	confirm := ca.ledger.Record().Confirm
	if candidate == nil || confirm == nil || confirm.Digest != candidate.digest || ca.lapsed(d, confirm.Number) {
		if _, err := d.Publish(change); err != nil {
			return err
		}
		_ = ca.ledger.Update(stable.renumber)
		return nil
	}
	change.Candidate = &candidate.slot
	next := *confirm
	next.Number = candidate.number
	if err := ca.replace(d, confirm, &next, change); err != nil {
		return err
	}
	_ = ca.ledger.Update(stable.renumber)
	return nil
}

// replace puts a candidate that was built again into its place, under its old deadline, in one store with what else
// changes. The record is written first, as publish does.
func (ca *candidates) replace(d trial, confirm, next *state.Confirm, change loader.Change) error {
	before := *confirm
	if err := ca.ledger.Update(func(r *state.Record) { r.Confirm = next }); err != nil {
		_ = ca.ledger.Update(func(r *state.Record) { r.Confirm = &before })
		return err
	}
	lease, left := ca.host().Guards.Lease, loader.In(before.Deadline.Sub(ca.ledger.Now()))
	ca.lease().Hold(next.Number, lease, left)
	if _, err := d.Publish(change); err != nil {
		ca.lease().Hold(before.Number, lease, left)
		_ = ca.ledger.Update(func(r *state.Record) { r.Confirm = &before })
		return err
	}
	ca.rollouts.renumber(&before, next)
	return nil
}
