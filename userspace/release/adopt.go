// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"fmt"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// adoptCandidate goes on with a candidate that is under a live lease and was started by this state; all others go back.
func (mg *Manager) adoptCandidate(d Kernel) {
	c, confirm := d.Control(), mg.Ledger.Record().Confirm
	all, err := d.Generations()
	if err != nil {
		mg.Ledger.SetProblem(ledger.ProblemVerify, err.Error(), ledger.Fix(err))
		return
	}
	g, resident := view.InSlot(all, c.Candidate)
	lease, left := d.Lease(), time.Duration(0)
	if confirm != nil {
		left = confirm.Deadline.Sub(mg.Ledger.Now())
	}
	if resident && confirm != nil && confirm.Digest == g.Digest && left > 0 && d.Tripped() != g.Number &&
		mg.Lease().GoOn(g.Number, mg.Host().Guards.Lease, loader.In(left)) {
		if confirm.Number != g.Number { // an agent died between the record and the word
			_ = mg.Ledger.Update(func(r *state.Record) { r.Confirm.Number = g.Number })
		}
		return
	}
	mg.Lease().Release()
	if c.Candidate == bpf.SlotEmpty && confirm == nil {
		return
	}
	if confirm != nil && !endedByDeadline(lease, left) {
		mg.holdCandidate(d, confirm, "the agent was gone, and the kernel went back to stable by itself")
		return
	}
	e := mg.Ledger.Entry(ledger.Itself(), "confirm", "nobody confirmed in time; the agent was gone")
	e.Outcome = api.OutcomeRolledBack
	if resident {
		e.Digest, e.Number, e.Name = g.Digest, g.Number, mg.Ledger.NameOf(g.Digest)
	} else if confirm != nil {
		e.Digest, e.Number, e.Name = confirm.Digest, confirm.Number, confirm.Name()
	}
	if c.Candidate != bpf.SlotEmpty {
		if _, err := d.Withdraw(); err != nil && !errors.Is(err, loader.ErrNoCandidate) {
			mg.Ledger.SetProblem(ledger.ProblemVerify, err.Error(), ledger.Fix(err))
			return
		}
	}
	_ = mg.Ledger.Update(func(r *state.Record) {
		if confirm != nil {
			r.AddQuarantine(quarantined(confirm.Name(), confirm.Digest, &e))
		}
		r.Confirm = nil
	})
	mg.countRollback()
	mg.Ledger.Audit(e)
}

// endedByDeadline reports whether the last lease of a candidate reached its deadline, which has left to go or is past: then
// nobody confirmed it while an agent lived. A lease that ended before is one that nobody renewed.
func endedByDeadline(lease loader.Deadline, left time.Duration) bool {
	return lease > 0 && int64(lease)+int64(clockSlack) >= int64(loader.Present())+int64(left)
}

// adoptStable writes down what the kernel has as stable when the record says something else, and lets a bake go on for
// as long as it still had when the last agent lived.
func (mg *Manager) adoptStable(d Kernel, away time.Duration) {
	c := d.Control()
	mg.settled.idle = c.Stable != bpf.SlotEmpty && c.Mode != bpf.DataplaneModeMODE_ENFORCE
	if mg.reconcile(d) {
		return
	}
	if away > 0 && !mg.Ledger.Record().BakeUntil.IsZero() && d.Control().Stable != bpf.SlotEmpty {
		_ = mg.Ledger.Update(func(r *state.Record) { r.BakeUntil = r.BakeUntil.Add(away) })
	}
}

// reconcile records what somebody else did to the control word: the command line without an agent, or another tool.
func (mg *Manager) reconcile(d Kernel) bool {
	all, err := d.Generations()
	if err != nil {
		mg.Ledger.SetProblem(ledger.ProblemVerify, err.Error(), ledger.Fix(err))
		return false
	}
	g, resident := view.InSlot(all, d.Control().Stable)
	applied := mg.Ledger.Record().Applied
	if !resident || (applied != nil && applied.Digest == g.Digest && applied.Number == g.Number) {
		return false
	}
	mg.Ledger.EnsureKnown(g.Digest)
	e := mg.Ledger.Entry(ledger.Itself(), "apply", "")
	e.Outcome, e.Digest, e.Number, e.Name = api.OutcomeFound, g.Digest, g.Number, mg.Ledger.NameOf(g.Digest)
	if applied != nil {
		e.Detail = []string{fmt.Sprintf("the record had %s, number %d", applied.Digest.Short(), applied.Number)}
	}
	members, bake := mg.Ledger.RecordMembers(g.Digest), mg.Host().Guards.Bake
	_ = mg.Ledger.Update(func(r *state.Record) {
		left := r.Applied
		found := state.Generation{Digest: g.Digest, Members: members, Number: g.Number, At: g.Built.UTC(), By: "found"}
		if left != nil && left.Digest != g.Digest && left.Number > g.Number { // numbers only go up: a lower one was gone back to
			r.RollBack(found, state.Quarantined{Name: left.Name(), Digest: left.Digest, At: mg.Ledger.Now(), By: "found", Reason: "it was rolled back, and not by this agent"}, bake)
			return
		}
		r.Applied, r.LastNumber = &found, max(r.LastNumber, g.Number)
		if r.LastKnownGood == nil || r.LastKnownGood.Digest != g.Digest {
			r.BakeUntil = mg.Ledger.Now().Add(bake).UTC()
		}
	})
	mg.Ledger.Audit(e)
	return true
}
