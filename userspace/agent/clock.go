// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"slices"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/plane"
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
func (a *agent) watchClock(d plane.Dataplane) {
	zero := started(a.opts.clock())
	if a.clockZero.IsZero() {
		a.clockZero = zero
	}
	if step := zero.Sub(a.clockZero); step.Abs() > clockSlack {
		a.log.Warn("the wall clock was set: deadlines are moved with it", "by", step)
		a.clockZero = zero
		_ = a.ledger.Update(func(r *state.Record) { r.ShiftClock(step) })
		a.bans.Shift(step)
	}
	if _, moved := a.movedExpiries(d); moved {
		a.expiriesMoved.Store(true)
	}
}

// movedExpiries returns the stable generation when its rules' expiries, which are wall time, became kernel time by a clock
// that was wrong: one without a battery that starts in 1970 would keep rules for decades. A candidate that waits is
// compiled again with it.
func (a *agent) movedExpiries(d plane.Dataplane) (g loader.GenerationInfo, moved bool) {
	all, err := d.Generations()
	c := d.Control()
	if err != nil {
		return g, false
	}
	g, resident := view.InSlot(all, c.Stable)
	if !resident || !a.expires(g.Digest) {
		return g, false
	}
	compiled := a.ledger.Record().Compiled
	i := slices.IndexFunc(compiled, func(c state.Compiled) bool { return c.Number == g.Number })
	if i < 0 {
		return g, false
	}
	then := started(loader.Clock{Wall: compiled[i].Wall, MonotonicNS: compiled[i].MonotonicNS})
	return g, started(a.opts.clock()).Sub(then).Abs() > clockSlack
}

// renewExpiries compiles the stable bundle again, if it still must be. It is a job.
func (a *agent) renewExpiries(d plane.Dataplane) {
	a.expiriesMoved.Store(false)
	g, moved := a.movedExpiries(d)
	if !moved {
		return
	}
	var err error
	e := a.ledger.Entry(ledger.Itself(), "reload", "the wall clock was set: the expiries of rules were computed again")
	e.Digest, e.Name = g.Digest, a.ledger.NameOf(g.Digest)
	if e.Number, err = a.buildAgain(d); err != nil {
		a.expiryRetry.Failed(a.now())
		a.log.Error("the wall clock was set, and the expiries of rules cannot be computed again now", "error", err)
		return
	}
	a.expiryRetry.Reset()
	e.Outcome = api.OutcomeDone
	a.ledger.Audit(e)
}

// expires reports whether a bundle has a rule that ends. One that nobody here has read yet is looked at later.
func (a *agent) expires(d config.Digest) bool {
	k := a.ledger.Knows(d)
	return k != nil && slices.ContainsFunc(k.Rules, func(r config.Rule) bool { return !r.Expires.IsZero() })
}

// buildAgain puts the stable bundle, compiled now, into the place of stable.
func (a *agent) buildAgain(d plane.Dataplane) (number uint32, err error) {
	seen := mark{epoch: d.Control().Epoch, wentBack: a.wentBack.Load()}
	h := a.hostFile()
	host, err := plane.CompileHost(d, h, 0)
	if err != nil {
		return 0, err
	}
	stable, _, err := a.buildStable(d, h, host)
	if err != nil || stable == nil {
		return 0, err
	}
	candidate, _, err := a.buildCandidate(d, h, host, stable)
	if err != nil {
		return 0, err
	}
	a.swap.Lock()
	defer a.swap.Unlock()
	if err := a.moved(d, seen); err != nil {
		return 0, err
	}
	return stable.number, a.publishRebuilt(d, loader.Change{Seen: &seen.epoch}, stable, candidate)
}
