// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/sdnotify"
	"github.com/spillway/spillway/userspace/state"
)

const (
	tickInterval  = time.Second
	driftInterval = time.Minute
	saveInterval  = 10 * time.Second
	// staleBeat is when a heartbeat that should come every second is taken for dead.
	staleBeat = 10 * time.Second
)

// loop ticks until ctx ends.
func (a *agent) loop(ctx context.Context) {
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	links := a.opts.links(ctx)
	a.tick(false)
	a.startBackground()
	a.notify(sdnotify.Ready)
	for {
		hurry := false
		select {
		case <-ctx.Done():
			a.background.Wait()
			return
		case <-a.opts.Reload:
			if _, err := a.Reload(ctx, itself(), "SIGHUP"); err != nil {
				a.log.Error("the host file was not reloaded; the old one goes on", "error", err)
			}
		case <-links:
			hurry = true
		case <-ticker.C:
		}
		a.tick(hurry)
		a.startBackground()
		a.notify()
	}
}

// tick does what time asks for. It never waits for a change that is running.
func (a *agent) tick(hurry bool) {
	if a.kernelMissing() {
		a.tryOpen()
	}
	d, done, err := a.use()
	if err == nil {
		a.watch(d, hurry)
		if a.change.TryLock() {
			a.settle(d)
			a.change.Unlock()
		}
		a.sweepBans(d)
		done()
	}
	a.saveAgain()
}

func (a *agent) kernelMissing() bool {
	a.kernelMu.RLock()
	defer a.kernelMu.RUnlock()
	return a.kernel == nil
}

// watch repairs the wiring: the program behind the root program, and the links.
func (a *agent) watch(d dataplane, hurry bool) {
	drifts, err := d.VerifyWiring()
	if err != nil {
		a.setProblem(problemVerify, "the wiring cannot be checked: "+err.Error(), fixOf(err))
		return
	}
	var left []string
	for _, w := range drifts {
		switch {
		case strings.HasPrefix(w.Where, "PROG_ARRAY"):
			if err := d.RefillPrograms(); err != nil {
				left = append(left, err.Error())
				continue
			}
			a.log.Error("the dataplane was missing behind the root program and was put back", "found", w.Got)
			a.countRepair("program")
		case strings.HasPrefix(w.Where, "interface "): // watchLinks sees to it
		default:
			left = append(left, fmt.Sprintf("%s: want %s, got %s", w.Where, w.Want, w.Got))
		}
	}
	if err := a.watchLinks(d, hurry); err != nil {
		left = append(left, err.Error())
	}
	if len(left) > 0 {
		a.setProblem(problemVerify, strings.Join(left, "; "), "spillway verify; apply the bundle again if it does not go away")
		return
	}
	a.clearProblem(problemVerify)
}

func (a *agent) countRepair(what string) {
	a.mu.Lock()
	a.repairs[what]++
	a.mu.Unlock()
}

func (a *agent) countRollback() {
	a.mu.Lock()
	a.rollbacks++
	a.mu.Unlock()
}

// settle ends what has a deadline: a candidate that nobody confirmed, a bake that is over. The change lock is held.
func (a *agent) settle(d dataplane) {
	a.expireCandidate(d)
	a.reconcile(d)
	a.finishBake(d)
	a.adoptBypass(d)
}

// expireCandidate takes back a candidate whose time is over. The kernel has already: its lease never reaches beyond.
func (a *agent) expireCandidate(d dataplane) {
	confirm := a.state().Confirm
	slot := d.Control().Candidate
	if confirm == nil && slot == bpf.SlotEmpty {
		return
	}
	if confirm != nil && slot != bpf.SlotEmpty && a.now().Before(confirm.Deadline) {
		return
	}
	if slot != bpf.SlotEmpty {
		if _, err := d.Withdraw(); err != nil && !errors.Is(err, loader.ErrNoCandidate) {
			a.setProblem(problemVerify, err.Error(), fixOf(err))
			return
		}
	}
	a.beat.release()
	e := a.entry(itself(), "confirm", "nobody confirmed in time")
	e.Outcome = api.OutcomeRolledBack
	if confirm != nil {
		e.Digest, e.Name, e.Number = confirm.Digest, confirm.Name, confirm.Number
		if slot == bpf.SlotEmpty {
			e.Reason, e.Outcome = "the candidate was ended by somebody else", api.OutcomeFound
		}
	} else {
		e.Reason = "a candidate that nobody here started"
	}
	_ = a.update(func(r *state.Record) { r.Confirm = nil })
	a.countRollback()
	a.audit(e)
}

// finishBake makes the stable bundle last-known-good once it has served for guards.bake.
func (a *agent) finishBake(d dataplane) {
	r := a.state()
	if r.Applied == nil || r.BakeUntil.IsZero() || a.now().Before(r.BakeUntil) {
		return
	}
	all, err := d.Generations()
	if err != nil {
		return
	}
	g, resident := generationIn(all, d.Control().Stable)
	if !resident || g.Digest != r.Applied.Digest {
		return
	}
	// The bundle must be whole on disk to be any good after a reboot.
	if _, err := a.store.Bundle(g.Digest); err != nil {
		a.setProblem(problemLKG, fmt.Sprintf("%s has baked, and cannot become last-known-good: %v", config.Digest(g.Digest).Short(), err), "apply the bundle again")
		return
	}
	a.makeKnownGood(g.Digest)
	e := a.entry(itself(), "bake", "")
	e.Outcome, e.Digest, e.Name, e.Number = api.OutcomeDone, g.Digest, r.Applied.Name, g.Number
	a.audit(e)
	a.clearProblem(problemLKG)
}

func (a *agent) makeKnownGood(digest config.Digest) {
	_ = a.update(func(r *state.Record) {
		if r.Applied == nil || r.Applied.Digest != digest {
			return
		}
		known := *r.Applied
		known.At = a.now().UTC()
		r.LastKnownGood, r.BakeUntil = &known, time.Time{}
	})
}

// saveAgain writes a record that the disk refused before.
func (a *agent) saveAgain() {
	a.mu.Lock()
	due := a.unsaved && a.now().Sub(a.lastSave) >= saveInterval
	a.mu.Unlock()
	if due {
		a.lastSave = a.now()
		_ = a.update(func(*state.Record) {})
	}
}

// startBackground runs what may take long beside the ticks, one at a time: names of bundles, and the comparison of
// every row with what it should be.
func (a *agent) startBackground() {
	if !a.backgroundRuns.CompareAndSwap(false, true) {
		return
	}
	verify := a.now().Sub(a.lastDrift) >= driftInterval
	if verify {
		a.lastDrift = a.now()
	}
	a.background.Go(func() {
		defer a.backgroundRuns.Store(false)
		// The thread ends with the goroutine and takes its low priority with it.
		runtime.LockOSThread()
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 19)
		a.learnResident()
		if verify {
			a.verifyInBackground()
		}
		a.collect()
	})
}

// notify tells systemd that the agent is well, if a look at what it does says so: the beat beats, the control word can
// be read, and the socket answers.
func (a *agent) notify(states ...string) {
	interval := a.opts.Notify.WatchdogInterval()
	ready := len(states) > 0
	if !ready && a.now().Sub(a.lastNotify) < max(interval/3, tickInterval) {
		return
	}
	a.lastNotify = a.now()
	if err := a.healthy(); err != nil {
		a.log.Error("the agent is not well and does not feed systemd's watchdog", "error", err)
	} else {
		states = append(states, sdnotify.Watchdog)
	}
	if err := a.opts.Notify.Send(append(states, sdnotify.Status(a.oneLine()))...); err != nil {
		a.log.Debug("systemd does not listen", "error", err)
	}
}
