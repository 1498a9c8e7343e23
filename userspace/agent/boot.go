// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/stages"
	"github.com/spillway/spillway/userspace/state"
)

/*
A start that ends before it settles may have died of the set that it brings into force: the agent, or the machine with
it. Each start is counted on disk before anything is attached; the fourth with one set leaves it.

	start ──▶ count ──▶ open ──▶ leave what is condemned ──▶ adopt ──▶ five minutes, or an orderly stop: settled
	            │                   kernel and record, before anything of the set is read
	            └── the fourth: quarantine; previous decides, and after three more nothing does: everything passes

Meanwhile visitors meet what the kernel has: an agent that dies touches nothing. With `rollout: direct` a death of the
agent alone does not count, and what decides goes on deciding, for agent_timeout. One that took the machine along does,
in both: a site that boots for ever is down.
*/

// settleAfter is how long a start must live to have settled.
const settleAfter = 5 * time.Minute

// boot is the count of starts. It belongs to the goroutine that ticks; while leaves is set, to the job that leaves.
type boot struct {
	count   rollout.Boot
	machine string // what the kernel calls this boot
	reason  string
	since   time.Time                         // when this start, or what it tries, began
	leaves  atomic.Pointer[release.Condemned] // not left yet
	trial   atomic.Pointer[rollout.Change]    // whose rollout ends before the engine's first look
	counts  bool
	settled bool
	unsaved bool // the disk refused, and holds an older count
}

// countStart counts this start on disk. A disk that refuses is no reason not to start: then nothing is counted, which
// is told.
func (a *agent) countStart() {
	was := a.store.Boots().Boot()
	b := &a.boot
	b.counts, b.machine, b.since = true, a.opts.machine(), a.started
	b.count = rollout.Boot{Digest: was.Digest, Starts: was.Starts, Load: rollout.Load(was.Load)}
	b.reason = was.Reason
	again := was.Machine == b.machine
	if again && a.opts.Host.Guards.Rollout != config.RolloutStaged {
		b.count = b.count.Settled()
	}
	current, previous := wanted(a.ledger.Record(), !again)
	trial, tries := a.stages.Trying()
	if !again { // nothing of it is in the kernel, and it begins again: a machine that died after it began may die of it
		if trial, tries = a.diedTrying(b.count.Digest); tries {
			b.count.Digest = trial.Digest
		}
	}
	if tries {
		current, previous = trial.Digest, current
	}
	if b.count.Load == rollout.LoadPrevious {
		previous = current // the record went back already
	}
	if current.IsZero() && b.count.Load == rollout.LoadCurrent {
		b.count, b.settled = rollout.Boot{}, true // there is nothing to die of
		a.saveBoot()
		return
	}
	next, condemns := b.count.Start(current, previous)
	b.count = next
	switch {
	case condemns == nil:
	case tries && condemns.Digest == trial.Digest:
		b.reason = condemns.Sentence
		b.trial.Store(&trial)
		_ = a.ledger.Update(func(r *state.Record) {
			r.AddQuarantine(state.Quarantined{Name: trial.Name, Digest: trial.Digest, At: a.now(), By: ledger.Itself().User,
				Reason: b.reason})
		})
	default:
		b.reason = condemns.Sentence
		b.leaves.Store(&release.Condemned{Digest: condemns.Digest, Empty: next.Load == rollout.LoadEmpty,
			Reason: b.reason})
	}
	a.saveBoot()
	a.tellBoot()
}

// diedTrying returns the rollout with which the machine died: the last start was counted with it, or with the set that
// it had made stable.
func (a *agent) diedTrying(counted config.Digest) (rollout.Change, bool) {
	if c, tries := a.stages.Trying(); tries && c.Digest == counted {
		return c, true
	}
	c, bakes := stages.Baking(a.stages)
	applied, _ := wanted(a.ledger.Record(), false)
	known, _ := wanted(a.ledger.Record(), true)
	return c, bakes && (c.Digest == counted || applied == counted && applied != known)
}

// wanted returns what a start brings into force, and what is taken in its place. After a reboot that is
// last-known-good.
func wanted(r *state.Record, rebooted bool) (current, previous config.Digest) {
	digest := func(g *state.Generation) config.Digest {
		if g == nil {
			return config.Digest{}
		}
		return g.Digest
	}
	switch {
	case rebooted:
		current = digest(r.LastKnownGood)
	case r.Confirm != nil:
		return r.Confirm.Digest, digest(r.Applied)
	default:
		current = digest(r.Applied)
	}
	if before := digest(r.Previous); before != current {
		previous = before
	}
	return current, previous
}

func (a *agent) saveBoot() {
	b := &a.boot
	err := a.store.Boots().SaveBoot(state.Boot{Machine: b.machine, Digest: b.count.Digest, Starts: b.count.Starts,
		Load: uint8(b.count.Load), Reason: b.reason})
	if err != nil && !b.unsaved {
		a.log.Warn("the count of starts is not written: what this start dies of is tried again", "error", err)
	}
	b.unsaved = err != nil
}

func (a *agent) tellBoot() {
	if a.boot.count.Load == rollout.LoadCurrent {
		a.ledger.ClearProblem(ledger.ProblemBoot)
		return
	}
	a.ledger.SetProblem(ledger.ProblemBoot, a.boot.reason,
		"look at the log of the agent and of the kernel, then apply another bundle, or this one with a reason")
}

// leaveCondemned goes back from what starts died of. The change lock is held.
func (a *agent) leaveCondemned(d dataplane) error {
	leaves := a.boot.leaves.Load()
	if leaves == nil {
		return nil
	}
	if err := a.release.LeaveCondemned(d, *leaves); err != nil {
		return err
	}
	a.log.Error(a.boot.reason)
	if r := a.ledger.Record(); r.Applied == nil && r.LastKnownGood == nil { // the kernel had nothing else
		a.boot.count = rollout.Boot{Load: rollout.LoadEmpty}
		a.saveBoot()
	}
	a.boot.leaves.Store(nil)
	return nil
}

// leaveTrial ends the rollout that starts died of, before the engine looks at it.
func (a *agent) leaveTrial() {
	if t := a.boot.trial.Load(); t != nil {
		defer a.boot.trial.Store(nil)
		a.log.Error(a.boot.reason)
		if _, err := a.stages.Do(rollout.Command{Verb: rollout.VerbAbort, ID: t.ID, By: ledger.Itself().User,
			Reason: strings.TrimSuffix(a.boot.reason, ".")}); err != nil {
			a.log.Error("a rollout with which agents died cannot be ended", "rollout", t.ID, "error", err)
		}
	}
}

// settleStart ends the count when this start has lived long enough, and begins another when something else is tried
// or in force.
func (a *agent) settleStart() {
	b := &a.boot
	if !b.counts || !a.adopted.Load() || b.leaves.Load() != nil || b.trial.Load() != nil {
		return
	}
	current, _ := wanted(a.ledger.Record(), false)
	if trial, tries := a.stages.Trying(); tries {
		current = trial.Digest
	} else if c, bakes := stages.Baking(a.stages); bakes && c.Digest == b.count.Digest {
		current = c.Digest // no look has begun it again yet, or it became stable: it is the same trial
	}
	switch {
	case !current.IsZero() && current != b.count.Digest: // it is tried from now on
		b.count, b.reason, b.since, b.settled = rollout.Boot{Digest: current, Starts: 1}, "", a.now(), false
	case b.settled && b.unsaved: // else who lives long is counted with those that died
	case b.settled || a.now().Sub(b.since) < settleAfter:
		return
	default:
		b.count, b.settled = b.count.Settled(), true
	}
	a.saveBoot()
	a.tellBoot()
}

// stopOrderly settles a start that ends because somebody wants it to. Where the disk takes no count, there shall be
// none: a full one lets go of a file. Where it refuses that, too, the next start takes this one for one that died; four
// in a row, none of which lived for five minutes, leave a set that did nothing wrong.
func (a *agent) stopOrderly() {
	b := &a.boot
	if !b.counts || b.settled || b.leaves.Load() != nil {
		return
	}
	b.count, b.settled = b.count.Settled(), true
	if a.saveBoot(); b.unsaved && b.count.Load == rollout.LoadCurrent {
		if err := a.store.Boots().Forget(); err != nil {
			a.log.Warn("the next start counts this one with those that died", "error", err)
		}
	}
}

// bootID returns what the kernel calls this boot; "" where it does not say, and then the agent alone is counted.
func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
