// SPDX-License-Identifier: Apache-2.0

package release

import (
	"slices"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// clockSlack is how far the two clocks may part before the wall clock counts as set. NTP slews both alike; a step, and a
// sleep of the machine, move them apart.
const clockSlack = 2 * time.Second

// started is the wall time at which the kernel's clock was 0: it moves when the wall clock is set.
func started(c loader.Clock) time.Time {
	return c.Wall.Round(0).Add(-time.Duration(c.MonotonicNS))
}

// watchClock keeps lengths of time what they were when the wall clock is set: the kernel's own deadlines do not move, so
// those of the record must. The change lock is held.
func (mg *Manager) watchClock(d Kernel) {
	zero := started(mg.Clock())
	if mg.settled.clockZero.IsZero() {
		mg.settled.clockZero = zero
	}
	if step := zero.Sub(mg.settled.clockZero); step.Abs() > clockSlack {
		mg.Log.Warn("the wall clock was set: deadlines are moved with it", "by", step)
		mg.settled.clockZero = zero
		_ = mg.Ledger.Update(func(r *state.Record) { r.ShiftClock(step) })
		mg.Shift(step)
	}
	if _, moved := mg.movedExpiries(d); moved {
		mg.expiries.moved.Store(true)
	}
}

// movedExpiries returns the stable generation when its rules' expiries, which are wall time, became kernel time by a clock
// that was wrong: one without a battery that starts in 1970 would keep rules for decades. A candidate that waits is
// compiled again with it.
func (mg *Manager) movedExpiries(d Kernel) (g loader.GenerationInfo, moved bool) {
	all, err := d.Generations()
	c := d.Control()
	if err != nil {
		return g, false
	}
	g, resident := view.InSlot(all, c.Stable)
	if !resident || !mg.expires(g.Digest) {
		return g, false
	}
	compiled := mg.Ledger.Record().Compiled
	i := slices.IndexFunc(compiled, func(c state.Compiled) bool { return c.Number == g.Number })
	if i < 0 {
		return g, false
	}
	then := started(loader.Clock{Wall: compiled[i].Wall, MonotonicNS: compiled[i].MonotonicNS})
	return g, started(mg.Clock()).Sub(then).Abs() > clockSlack
}

// RenewExpiries compiles the stable bundle again, if it still must be. It is a job.
func (mg *Manager) RenewExpiries(d Kernel) {
	mg.expiries.moved.Store(false)
	g, moved := mg.movedExpiries(d)
	if !moved {
		return
	}
	var err error
	e := mg.Ledger.Entry(ledger.Itself(), "reload", "the wall clock was set: the expiries of rules were computed again")
	e.Digest, e.Name = g.Digest, mg.Ledger.NameOf(g.Digest)
	if e.Number, err = mg.buildAgain(d); err != nil {
		mg.expiries.retry.Failed(mg.Ledger.Now())
		mg.Log.Error("the wall clock was set, and the expiries of rules cannot be computed again now", "error", err)
		return
	}
	mg.expiries.retry.Reset()
	e.Outcome = api.OutcomeDone
	mg.Ledger.Audit(e)
}

// expires reports whether a bundle has a rule that ends. One that nobody here has read yet is looked at later.
func (mg *Manager) expires(d config.Digest) bool {
	k := mg.Ledger.Knows(d)
	return k != nil && slices.ContainsFunc(k.Rules, func(r config.Rule) bool { return !r.Expires.IsZero() })
}

// buildAgain puts the stable bundle, compiled now, into the place of stable.
func (mg *Manager) buildAgain(d Kernel) (number uint32, err error) {
	seen := mark{epoch: d.Control().Epoch, wentBack: mg.wentBack.Load()}
	h := mg.Host()
	host, err := hostfile.Compile(d, h, 0)
	if err != nil {
		return 0, err
	}
	stable, _, err := mg.buildStable(d, h, host)
	if err != nil || stable == nil {
		return 0, err
	}
	candidate, _, err := mg.buildCandidate(d, h, host, stable)
	if err != nil {
		return 0, err
	}
	mg.swap.Lock()
	defer mg.swap.Unlock()
	if err := mg.moved(d, seen); err != nil {
		return 0, err
	}
	return stable.number, mg.publishRebuilt(d, loader.Change{Seen: &seen.epoch}, stable, candidate)
}
