// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spillway/spillway/loader/pins"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/memlimit"
	"github.com/spillway/spillway/userspace/sdnotify"
	"github.com/spillway/spillway/userspace/serve"
	"github.com/spillway/spillway/userspace/state"
)

// Run is the agent until ctx ends. It returns an error only when another agent holds the state or the pins. Whatever
// else fails is told, and tried again. It leaves everything attached.
func Run(ctx context.Context, o Options) error {
	o.setDefaults()
	lock, err := serve.Lock(o.Host.Listen.Socket)
	switch {
	case errors.Is(err, state.ErrLocked):
		return fmt.Errorf("another agent runs: %w", err)
	case err != nil:
		o.Log.Warn("a second agent could not be kept away by the socket's lock; that of the state folder is left", "error",
			err)
	default:
		defer lock.Close()
	}
	if limit := memlimit.Set(o.Host.Capacity); limit != 0 {
		o.Log.Debug("the Go part keeps to a memory limit", "bytes", limit)
	}
	store, err := openStore(o)
	if err != nil {
		return err
	}
	defer store.Close()
	a := newAgent(o, store)
	switch err := a.plane.Own(); {
	case errors.Is(err, pins.ErrOwned):
		return fmt.Errorf("another agent runs: %w\n  fix: %s", err, ledger.Fix(err))
	case err != nil:
		o.Log.Warn("the pins could not be locked; opening them tries again", "error", err)
	}
	defer a.plane.Disown()
	a.countStart()
	defer a.stopOrderly()
	a.startJobs()
	a.jobs.wait(startPatience)
	defer a.plane.Close()
	if a.renewDue() {
		return ErrRenew
	}
	background, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	listening := make(chan struct{})
	wg.Go(func() { a.serve.Run(background, listening) })
	wg.Go(func() { a.events.Read(background) })
	wg.Go(func() { a.silent.Close(background) })
	wg.Go(func() { a.plane.WatchCounters(background) })
	wg.Go(func() { a.runStages(background) })
	wg.Go(func() { a.health.Run(background) })
	<-listening
	a.loop(background)
	if ctx.Err() == nil {
		stop()
		wg.Wait()
		return ErrRenew
	}
	_ = o.Notify.Send(sdnotify.Stopping, sdnotify.Status("stopping; the kernel goes on"))
	o.Log.Info("the agent stops; what the kernel enforces goes on", "timeout", a.host.Host().Guards.AgentTimeout)
	stop()
	wg.Wait()
	return nil
}

// startPatience is how long a start waits for the kernel part before it answers without: nobody should ask a host that
// is just being protected, and systemd waits 90 s for a start.
const startPatience = 30 * time.Second

// openStore opens the state. Only a lock that somebody else holds is an error: without a disk the agent still serves.
func openStore(o Options) (*state.Store, error) {
	so := state.Options{Log: o.Log, Now: o.Now, Fault: o.fault}
	s, err := state.Open(o.Host.Paths.State, so)
	if errors.Is(err, state.ErrLocked) {
		return nil, fmt.Errorf("another agent runs: %w", err)
	}
	if err != nil {
		o.Log.Error("the state folder cannot be used: changes are not remembered across a reboot", "folder",
			o.Host.Paths.State, "error", err)
		return state.Unusable(o.Host.Paths.State, err, so), nil
	}
	return s, nil
}
