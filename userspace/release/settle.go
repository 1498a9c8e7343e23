// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// settler makes record and word agree.
type settler struct {
	*site
	swap       *swap
	rollouts   *rollouts
	candidates *candidates
	bake       *bake
	clock      *clock
	takeNotes  func()

	epoch    uint32    // of the word when it was compared with the record
	compared time.Time // then
}

// compareEvery is how often record and word are compared while the word stays.
const compareEvery = 5 * time.Second

// adoptStable writes down what the kernel has as stable when the record says something else, and lets a bake go on for
// as long as it still had when the last agent lived.
func (se *settler) adoptStable(d view.Kernel, away time.Duration) {
	c := d.Control()
	se.bake.idle = c.Stable != bpf.SlotEmpty && c.Mode != bpf.ModeEnforce
	if se.reconcile(d) {
		return
	}
	if away > 0 && !se.ledger.Record().BakeUntil.IsZero() && d.Control().Stable != bpf.SlotEmpty {
		_ = se.ledger.Update(func(r *state.Record) { r.BakeUntil = r.BakeUntil.Add(away) })
	}
}

// reconcile records what somebody else did to the control word: the command line without an agent, or another tool.
func (se *settler) reconcile(d view.Kernel) bool {
	all, err := d.Generations()
	if err != nil {
		se.ledger.SetProblem(ledger.ProblemVerify, err.Error(), ledger.Fix(err))
		return false
	}
	g, resident := view.InSlot(all, d.Control().Stable)
	applied := se.ledger.Record().Applied
	if !resident || (applied != nil && applied.Digest == g.Digest && applied.Number == g.Number) {
		return false
	}
	se.ledger.EnsureKnown(g.Digest)
	e := se.ledger.Entry(ledger.Itself(), "apply", "")
	e.Outcome, e.Digest, e.Number, e.Name = api.OutcomeFound, g.Digest, g.Number, se.ledger.NameOf(g.Digest)
	if applied != nil {
		e.Detail = []string{fmt.Sprintf("the record had %s, number %d", applied.Digest.Short(), applied.Number)}
	}
	members, bake := se.ledger.RecordMembers(g.Digest), se.host().Guards.Bake
	_ = se.ledger.Update(func(r *state.Record) {
		left := r.Applied
		found := state.Generation{Digest: g.Digest, Members: members, Number: g.Number, At: g.Built.UTC(), By: "found"}
		// numbers only go up: a lower one was gone back to
		if left != nil && left.Digest != g.Digest && left.Number > g.Number {
			r.RollBack(found,
				state.Quarantined{Name: left.Name(), Digest: left.Digest, At: se.ledger.Now(), By: "found",
					Reason: "it was rolled back, and not by this agent"}, bake)
			return
		}
		r.Applied, r.LastNumber = &found, max(r.LastNumber, g.Number)
		if r.LastKnownGood == nil || r.LastKnownGood.Digest != g.Digest {
			r.BakeUntil = se.ledger.Now().Add(bake).UTC()
		}
	})
	se.ledger.Audit(e)
	return true
}

// mayDiffer reports whether record and word are to be compared: when the word moved, and now and then without that.
func (se *settler) mayDiffer(epoch uint32) bool {
	now := se.ledger.Now()
	if epoch == se.epoch && now.Sub(se.compared).Abs() < compareEvery {
		return false
	}
	se.epoch, se.compared = epoch, now
	return true
}

// adopt makes record and word agree when an agent starts: the kernel is right, but a candidate whose lease is dead
// goes. away is for how long no agent lived. The change lock is held.
func (se *settler) adopt(d Kernel, away time.Duration) error {
	se.swap.Lock()
	defer se.swap.Unlock()
	se.takeNotes()
	err := se.candidates.adopt(d)
	se.adoptStable(d, away)
	return err
}

// settle ends what has a deadline: a candidate that nobody confirmed, a bake that is over. The change lock is held.
func (se *settler) settle(d Kernel) {
	se.clock.watch(d)
	se.swap.Lock()
	se.takeNotes()
	se.candidates.expire(d)
	if se.mayDiffer(d.Control().Epoch) {
		se.reconcile(d)
	}
	se.swap.Unlock()
	se.rollouts.settle()
	if se.bake.awake() && !se.bake.elsewhere(d) {
		se.bake.hold(d)
		se.bake.finish(d)
	}
	se.bake.tell(d)
}
