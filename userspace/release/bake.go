// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"slices"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// bake is how the stable bundle becomes last-known-good. But for idleReason it belongs to the goroutine that settles.
type bake struct {
	*site
	disk  wholeFiles
	lease func() Lease
	judge func(view.Kernel) view.Verdict
	stage Stage
	idle  bool     // the stable bundle decided nothing: its bake begins anew
	told  *bakedAt // what tell last told
}

// idleReason says why the stable bundle blocks nobody now, as the end of "it bakes once …"; "" when it decides. A
// bundle that decides nothing proves nothing, so its bake stands.
func (bk *bake) idleReason(d view.Kernel) string {
	if d.Control().Mode != bpf.ModeEnforce {
		return "it enforces"
	}
	if passes, err := view.Passes(d); err != nil {
		return "the kernel can be read"
	} else if passes {
		return "the bypass is off"
	}
	// The card is asked, not the pins: what somebody unpinned goes on.
	if !slices.ContainsFunc(bk.judge(d).Interfaces, func(i api.Interface) bool {
		return i.State == loader.StateAttached
	}) {
		return "an interface is attached"
	}
	return ""
}

// elsewhere reports whether the room above ends the bake of the stable generation, or may.
func (bk *bake) elsewhere(d view.Kernel) bool {
	if len(bk.stage.Keeps()) == 0 {
		return false
	}
	all, err := d.Generations()
	return err != nil || bk.stage.Owns(numberIn(all, d.Control().Stable))
}

// awake takes the time for which this process did not run off a bake: nobody was there to see what the bundle does. A
// machine that slept is no such time: there was no traffic, and the record's deadlines moved with the clock. It is
// false while the heartbeat has not beaten since the stop: only then is it known how long it was.
func (bk *bake) awake() bool {
	if bk.lease().Stopped() {
		return false
	}
	slept := bk.lease().TakeSlept()
	if slept > 0 && !bk.ledger.Record().BakeUntil.IsZero() {
		bk.log.Warn("the agent was stopped; the bake goes on from there", "for", slept)
		_ = bk.ledger.Update(func(r *state.Record) {
			if !r.BakeUntil.IsZero() {
				r.BakeUntil = r.BakeUntil.Add(slept)
			}
		})
	}
	return true
}

// hold lets no bake end while the bundle decides nothing, and begins it anew when the bundle decides again: a bake
// is guards.bake of deciding in one piece. The record is written at most twice a bake.
func (bk *bake) hold(d view.Kernel) {
	until, bake := bk.ledger.Record().BakeUntil, bk.host().Guards.Bake
	idle, was := bk.idleReason(d) != "", bk.idle
	bk.idle = idle
	if until.IsZero() || !idle && !was || idle && until.Sub(bk.ledger.Now()) > bake/2 {
		return
	}
	_ = bk.ledger.Update(func(r *state.Record) {
		if !r.BakeUntil.IsZero() {
			r.BakeUntil = bk.ledger.Now().Add(bake).UTC()
		}
	})
}

// finish makes the stable bundle last-known-good once it has served for guards.bake.
func (bk *bake) finish(d view.Kernel) {
	r := bk.ledger.Record()
	if r.Applied == nil || r.BakeUntil.IsZero() || bk.ledger.Now().Before(r.BakeUntil) || bk.lease().Stopped() ||
		bk.lease().Slept() > 0 {
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
	if err := bk.disk.Whole(g.Digest); err != nil {
		bk.ledger.SetProblem(ledger.ProblemLKG,
			fmt.Sprintf("%s has baked, and cannot become last-known-good: %v", config.Digest(g.Digest).Short(), err),
			"apply the bundle again")
		return
	}
	bk.makeKnownGood(g.Digest)
	e := bk.ledger.Entry(ledger.Itself(), "bake", "")
	e.Outcome, e.Digest, e.Name, e.Number = api.OutcomeDone, g.Digest, r.Applied.Name(), g.Number
	bk.ledger.Audit(e)
	bk.ledger.ClearProblem(ledger.ProblemLKG)
}

func (bk *bake) makeKnownGood(digest config.Digest) {
	_ = bk.ledger.Update(func(r *state.Record) {
		if r.Applied == nil || r.Applied.Digest != digest {
			return
		}
		known := *r.Applied
		known.At = bk.ledger.Now().UTC()
		r.LastKnownGood, r.BakeUntil = &known, time.Time{}
	})
}
