// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"time"

	"github.com/spillway/spillway/userspace/pulse"
	"github.com/spillway/spillway/userspace/sdnotify"
)

const (
	tickInterval = time.Second
	saveInterval = 10 * time.Second
	// staleBeat is when a heartbeat that should come every second is taken for dead.
	staleBeat = 10 * time.Second
)

// loop ticks until ctx ends.
func (a *agent) loop(ctx context.Context) {
	ticker := pulse.Every(tickInterval)
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

// tick does what time asks for. It never waits for a change that is running, and what takes longer than a moment is a
// job.
func (a *agent) tick(hurry bool) {
	a.startJobs()
	d, done, err := a.use()
	if err == nil {
		if a.wired.Load() && a.plane.Owns() {
			whole := a.plane.Links.Watch(d, hurry)
			a.plane.Links.WatchEgress(d, hurry)
			if a.adopted.Load() {
				unnamed := func() {
					if whole {
						a.plane.Links.DetachUnnamed(d)
					}
				}
				a.release.TrySettle(d, unnamed, func() { a.bypass.Adopt(d) })
			}
			a.bans.Sweep(d)
			a.plane.SweepVouched(d)
		}
		done()
	}
	a.settleStart()
	a.saveAgain()
	a.startJobs()
}

// notify tells systemd that the agent is ready and well, if a look at what it does says so: the beat beats, the control
// word can be read, and the socket answers.
func (a *agent) notify() {
	every := max(a.opts.Notify.WatchdogInterval()/3, tickInterval)
	if a.ready && a.now().Sub(a.lastNotify) < every {
		return
	}
	a.lastNotify = a.now()
	var states []string
	if a.opts.Notify.Listens() { // it takes a look at everything
		states = append(states, sdnotify.Status(a.oneLine()))
	}
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
