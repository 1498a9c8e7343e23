// SPDX-License-Identifier: Apache-2.0

package release

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/retry"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// clock keeps lengths of time what they were when the wall clock is set.
type clock struct {
	*site
	read  func() compile.Clock
	shift func(time.Duration)
	again func(Kernel) (uint32, error)
	zero  time.Time   // when the kernel's clock was 0, by the wall clock of the last look: of the goroutine that settles
	moved atomic.Bool // the wall clock was set: expiries of rules may be wrong, which are kernel time in what is compiled
	retry retry.Retry // of the job
}

// clockSlack is how far the two clocks may part before the wall clock counts as set. NTP slews both alike; a step, and
// a sleep of the machine, move them apart.
const clockSlack = 2 * time.Second

// started is the wall time at which the kernel's clock was 0: it moves when the wall clock is set.
func started(c compile.Clock) time.Time {
	return c.Wall.Round(0).Add(-time.Duration(c.MonotonicNS))
}

// watch keeps lengths of time what they were when the wall clock is set: the kernel's own deadlines do not move, so
// those of the record must. The change lock is held.
func (cl *clock) watch(d view.Kernel) {
	zero := started(cl.read())
	if cl.zero.IsZero() {
		cl.zero = zero
	}
	if step := zero.Sub(cl.zero); step.Abs() > clockSlack {
		cl.log.Warn("the wall clock was set: deadlines are moved with it", "by", step)
		cl.zero = zero
		_ = cl.ledger.Update(func(r *state.Record) { r.ShiftClock(step) })
		cl.shift(step)
	}
	if _, moved := cl.movedExpiries(d); moved {
		cl.moved.Store(true)
	}
}

// movedExpiries returns the stable generation when its rules' expiries, which are wall time, became kernel time by a
// clock that was wrong: one without a battery that starts in 1970 would keep rules for decades. A candidate that waits
// is compiled again with it.
func (cl *clock) movedExpiries(d view.Kernel) (g loader.GenerationInfo, moved bool) {
	all, err := d.Generations()
	c := d.Control()
	if err != nil {
		return g, false
	}
	g, resident := view.InSlot(all, c.Stable)
	if !resident || !cl.expires(g.Digest) {
		return g, false
	}
	compiled := cl.ledger.Record().Compiled
	i := slices.IndexFunc(compiled, func(c state.Compiled) bool { return c.Number == g.Number })
	if i < 0 {
		return g, false
	}
	then := started(compile.Clock{Wall: compiled[i].Wall, MonotonicNS: compiled[i].MonotonicNS})
	return g, started(cl.read()).Sub(then).Abs() > clockSlack
}

// renew compiles the stable bundle again, if it still must be. It is a job.
func (cl *clock) renew(d Kernel) {
	cl.moved.Store(false)
	g, moved := cl.movedExpiries(d)
	if !moved {
		return
	}
	var err error
	e := cl.ledger.Entry(ledger.Itself(), "reload", "the wall clock was set: the expiries of rules were computed again")
	e.Digest, e.Name = g.Digest, cl.ledger.NameOf(g.Digest)
	if e.Number, err = cl.again(d); err != nil {
		cl.retry.Failed(cl.ledger.Now())
		cl.log.Error("the wall clock was set, and the expiries of rules cannot be computed again now", "error", err)
		return
	}
	cl.retry.Reset()
	e.Outcome = api.OutcomeDone
	cl.ledger.Audit(e)
}

// expires reports whether a bundle has a rule that ends. One that nobody here has read yet is looked at later.
func (cl *clock) expires(d config.Digest) bool {
	k := cl.ledger.Knows(d)
	return k != nil && slices.ContainsFunc(k.Rules, func(r config.Rule) bool { return !r.Expires.IsZero() })
}

// due reports whether RenewExpiries is.
func (cl *clock) due() bool {
	return cl.moved.Load() && cl.retry.Due(cl.ledger.Now())
}
