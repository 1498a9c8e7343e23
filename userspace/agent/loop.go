// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/sdnotify"
)

const (
	tickInterval  = time.Second
	driftInterval = time.Minute
	saveInterval  = 10 * time.Second
	sweepInterval = 10 * time.Second // of vouches: there may be many, and an ended one only takes a place
	// staleBeat is when a heartbeat that should come every second is taken for dead.
	staleBeat = 10 * time.Second
)

// loop ticks until ctx ends.
func (a *agent) loop(ctx context.Context) {
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	links := a.opts.links(ctx)
	a.tick(false)
	a.startSpare()
	a.notify()
	for {
		hurry := false
		select {
		case <-ctx.Done():
			a.jobs.wait(0)
			a.spare.wait(0)
			return
		case <-a.opts.Reload:
			a.hungUp.Store(true)
			_ = a.opts.Notify.Send(sdnotify.Reloading, sdnotify.Monotonic())
		case <-links:
			hurry = true
		case <-ticker.C:
		}
		a.tick(hurry)
		if a.renewDue() {
			return
		}
		a.startSpare()
		a.notify()
	}
}

// tick does what time asks for. It never waits for a change that is running, and what takes longer than a moment is a job.
func (a *agent) tick(hurry bool) {
	a.startJobs()
	d, done, err := a.use()
	if err == nil {
		if a.wired.Load() && a.owns() {
			a.watch(d, hurry)
			a.watchEgress(d, hurry)
			if a.adopted.Load() && a.change.TryLock() {
				a.settle(d)
				a.change.Unlock()
			}
			a.bans.Sweep(d)
			a.sweepVouched(d)
		}
		done()
	}
	a.saveAgain()
	a.startJobs()
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
		a.ledger.SetProblem(ledger.ProblemVerify, "the wiring cannot be checked: "+err.Error(), ledger.Fix(err))
		return
	}
	var left []string
	for _, w := range drifts {
		switch {
		case w.Where == loader.WherePrograms:
			if err := d.RefillPrograms(); err != nil {
				left = append(left, err.Error())
				continue
			}
			a.log.Error("the dataplane was missing behind the root program and was put back", "found", w.Got)
			a.countRepair("program")
		case w.Where == loader.WherePins:
			if _, err := d.Repin(); err != nil {
				left = append(left, fmt.Sprintf("%s %s: they would not outlive this agent: %v", w.Where, w.Got, err))
				continue
			}
			a.log.Error("somebody removed pins; this agent still held what they named and pinned it again", "found", w.Got)
			a.countRepair("pins")
		case w.OnInterface(): // watchLinks sees to it
		default:
			left = append(left, fmt.Sprintf("%s: want %s, got %s", w.Where, w.Want, w.Got))
		}
	}
	if err := a.watchLinks(d, hurry); err != nil {
		left = append(left, err.Error())
	}
	if len(left) > 0 {
		a.ledger.SetProblem(ledger.ProblemVerify, strings.Join(left, "; "), "spillway verify; apply the bundle again if it does not go away")
		return
	}
	a.ledger.ClearProblem(ledger.ProblemVerify)
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

// notify tells systemd that the agent is ready and well, if a look at what it does says so: the beat beats, the control
// word can be read, and the socket answers.
func (a *agent) notify() {
	every := max(a.opts.Notify.WatchdogInterval()/3, tickInterval)
	if a.ready && a.now().Sub(a.lastNotify) < every {
		return
	}
	a.lastNotify = a.now()
	states := []string{sdnotify.Status(a.oneLine())}
	if err := a.healthy(); err != nil {
		a.log.Error("the agent is not well and does not feed systemd's watchdog", "error", err)
	} else {
		states = append(states, sdnotify.Watchdog)
		if !a.ready {
			a.ready, states = true, append(states, sdnotify.Ready)
		}
	}
	if err := a.opts.Notify.Send(states...); err != nil {
		a.log.Debug("systemd does not listen", "error", err)
	}
}
