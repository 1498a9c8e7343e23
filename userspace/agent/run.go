// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/sdnotify"
	"github.com/spillway/spillway/userspace/state"
)

// Run is the agent until ctx ends. It returns an error only when another agent holds the state or the pins. Whatever else fails is
// told, and tried again. It leaves everything attached.
func Run(ctx context.Context, o Options) error {
	o.setDefaults()
	lock, err := lockRun(o.Host.Listen.Socket)
	switch {
	case errors.Is(err, state.ErrLocked):
		return fmt.Errorf("another agent runs: %w", err)
	case err != nil:
		o.Log.Warn("a second agent could not be kept away by the socket's lock; that of the state folder is left", "error", err)
	default:
		defer lock.Close()
	}
	store, err := openStore(o)
	if err != nil {
		return err
	}
	defer store.Close()
	a := newAgent(o, store)
	if err := a.ownPins(); errors.Is(err, loader.ErrOwned) {
		return fmt.Errorf("another agent runs: %w\n  fix: %s", err, fixOf(err))
	}
	defer a.disownPins()
	a.tryOpen()
	defer a.closeKernel()
	background, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	listening := make(chan struct{})
	wg.Go(func() { a.serveAPI(background, listening) })
	wg.Go(func() { a.serveMetrics(background) })
	wg.Go(func() { a.readEvents(background) })
	<-listening
	a.loop(background)
	_ = o.Notify.Send(sdnotify.Stopping, sdnotify.Status("stopping; the kernel goes on"))
	o.Log.Info("the agent stops; what the kernel enforces goes on", "timeout", o.Host.Guards.AgentTimeout)
	stop()
	wg.Wait()
	return nil
}

// endingTime is how long requests may take to end when the agent stops.
const endingTime = 10 * time.Second

// serveAPI answers on the socket until ctx ends. first is closed after the first attempt to listen; a socket that cannot
// be made is tried again, because the heartbeat matters more than the answers.
func (a *agent) serveAPI(ctx context.Context, first chan<- struct{}) {
	socket := a.hostFile().Listen.Socket
	again := retry{}
	for {
		l, err := api.Listen(socket)
		a.listens.Store(err == nil)
		if first != nil {
			close(first)
			first = nil
		}
		if err == nil {
			a.clearProblem(problemAPI)
			err = a.answer(ctx, l)
		}
		if ctx.Err() != nil {
			return
		}
		again.failed(time.Now())
		a.setProblem(problemAPI, errorText(err), "make room for "+socket+"; the agent tries again")
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(again.next)):
		}
	}
}

func (a *agent) answer(ctx context.Context, l net.Listener) error {
	server := api.NewServer(l.Addr().String(), a, a.log)
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endingTime)
		defer cancel()
		if err := server.Shutdown(ending); err != nil {
			a.log.Warn("some requests did not end", "error", err)
		}
	})
	err := server.Serve(l)
	if !stop() {
		<-ended
	}
	return err
}

// openStore opens the state. Only a lock that somebody else holds is an error: without a disk the agent still serves.
func openStore(o Options) (*state.Store, error) {
	so := state.Options{Log: o.Log, Now: o.Now, Fault: o.fault}
	s, err := state.Open(o.Host.Paths.State, so)
	if errors.Is(err, state.ErrLocked) {
		return nil, fmt.Errorf("another agent runs: %w", err)
	}
	if err != nil {
		o.Log.Error("the state folder cannot be used: changes are not remembered across a reboot", "folder", o.Host.Paths.State, "error", err)
		return state.Unusable(o.Host.Paths.State, err, so), nil
	}
	return s, nil
}
