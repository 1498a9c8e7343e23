// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/sdnotify"
	"github.com/spillway/spillway/userspace/state"
)

// Options of Run. Host and HostPath are needed; the rest has a useful zero value.
type Options struct {
	// Host is the host file as it was loaded from HostPath. Reload reads that path again.
	Host     *config.Host
	HostPath string
	// Version of the program, for status and metrics.
	Version string
	// Log receives what a person should know; nil discards it.
	Log *slog.Logger
	// Now is the wall clock.
	Now func() time.Time
	// Notify tells systemd; nil tells nobody.
	Notify *sdnotify.Notifier
	// Reload, when it receives, makes the agent read its host file again: SIGHUP.
	Reload <-chan struct{}

	// What stands for the machine in tests.
	open  func(loader.Options) (dataplane, error)
	own   func() ([]netip.Addr, error)
	links func(context.Context) <-chan struct{}
	fault func(op, path string) error
}

func (o *Options) setDefaults() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Notify == nil {
		o.Notify = &sdnotify.Notifier{}
	}
	if o.open == nil {
		o.open = openLoader
	}
	if o.own == nil {
		o.own = ownAddresses
	}
	if o.links == nil {
		o.links = linkEvents
	}
}

func openLoader(o loader.Options) (dataplane, error) {
	d, err := loader.Open(o)
	if err != nil {
		return nil, err // never a nil *loader.Dataplane in a dataplane
	}
	return d, nil
}

// ownAddresses returns the addresses of this host: no bundle and no ban may block them.
func ownAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list own addresses: %w", err)
	}
	var out []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap().WithZone(""))
		}
	}
	return out, nil
}

// agent is the running process.
type agent struct {
	opts    Options
	log     *slog.Logger
	store   *state.Store
	started time.Time
	hub     *hub
	totals  *totals

	// change is held by whoever changes what the kernel enforces: one at a time.
	change sync.Mutex

	// kernelMu guards the handle itself: readers use it while they hold the read lock, so it is never closed under them.
	kernelMu sync.RWMutex
	kernel   dataplane // nil while it cannot be opened
	beat     *heartbeat

	// bypassMu orders changes of the bypass. It is not change: who panics does not wait for an apply.
	bypassMu sync.Mutex

	// banMu orders changes of bans, for the same reason.
	banMu sync.Mutex

	background     sync.WaitGroup
	backgroundRuns atomic.Bool

	// saveMu orders writes of the record; it is taken before mu.
	saveMu sync.Mutex

	// mu guards what follows. Nothing slow happens under it.
	mu         sync.Mutex
	host       *config.Host
	hostDigest string
	record     *state.Record
	unsaved    bool
	problems   map[string]api.Problem
	places     map[string]*place
	known      map[config.Digest]*knownBundle
	images     map[uint32]*loader.Image
	drift      *api.Drift
	repairs    map[string]uint64
	applies    map[string]uint64
	rollbacks  uint64
	banTimes   []time.Time

	// These belong to the goroutine that ticks.
	openRetry  retry
	lastDrift  time.Time
	lastSave   time.Time
	lastNotify time.Time
}

func newAgent(o Options, s *state.Store) *agent {
	_, digest, _ := readHostFile(o.HostPath) // "" when the file changed under us and no longer loads
	a := &agent{
		opts: o, log: o.Log, store: s, started: o.Now(), hub: newHub(), totals: newTotals(),
		host: o.Host, hostDigest: digest, record: s.Load(), problems: map[string]api.Problem{}, places: map[string]*place{},
		known: map[config.Digest]*knownBundle{}, images: map[uint32]*loader.Image{},
		repairs: map[string]uint64{}, applies: map[string]uint64{},
	}
	if a.record.Bypass == nil {
		a.record.Bypass = map[string]state.Bypass{}
	}
	return a
}

// Run is the agent until ctx ends. It returns an error only when it could not begin: another agent holds the state or
// the socket. Whatever else fails is told, and tried again. It leaves everything attached.
func Run(ctx context.Context, o Options) error {
	o.setDefaults()
	store, err := openStore(o)
	if err != nil {
		return err
	}
	defer store.Close()
	a := newAgent(o, store)
	listener, err := api.Listen(o.Host.Listen.Socket)
	if err != nil {
		return err
	}
	a.tryOpen()
	defer a.closeKernel()
	server := api.NewServer(o.Host.Listen.Socket, a, o.Log)
	background, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Serve(listener); err != nil {
			a.setProblem("api", err.Error(), "restart the agent")
		}
	})
	wg.Go(func() { a.serveMetrics(background) })
	wg.Go(func() { a.readEvents(background) })
	a.loop(background)
	_ = o.Notify.Send(sdnotify.Stopping, sdnotify.Status("stopping; the kernel goes on"))
	o.Log.Info("the agent stops; what the kernel enforces goes on", "timeout", o.Host.Guards.AgentTimeout)
	stop()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(ending); err != nil {
		o.Log.Warn("some requests did not end", "error", err)
	}
	wg.Wait()
	return nil
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

func (a *agent) now() time.Time { return a.opts.Now() }

// use returns the dataplane and a function that gives it back. It must not be called twice by one goroutine.
func (a *agent) use() (dataplane, func(), error) {
	a.kernelMu.RLock()
	if a.kernel == nil {
		a.kernelMu.RUnlock()
		e := &api.Error{Code: api.CodeUnavailable, Message: "the kernel part is not loaded"}
		a.mu.Lock()
		defer a.mu.Unlock()
		if p, ok := a.problems[problemKernel]; ok {
			e.Message, e.Fix = e.Message+": "+p.Message, p.Fix
		}
		return nil, nil, e
	}
	return a.kernel, a.kernelMu.RUnlock, nil
}

func (a *agent) closeKernel() {
	a.kernelMu.Lock()
	defer a.kernelMu.Unlock()
	if a.kernel == nil {
		return
	}
	a.beat.close()
	if err := a.kernel.Close(); err != nil {
		a.log.Warn("cannot close the dataplane's handles", "error", err)
	}
	a.kernel = nil
}

func (a *agent) hostFile() *config.Host {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.host
}

// state returns a copy of the record.
func (a *agent) state() *state.Record {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.record.Clone()
}

// update changes the record and writes it. When the disk refuses, the record in memory is right and is written later.
func (a *agent) update(edit func(*state.Record)) error {
	a.saveMu.Lock()
	defer a.saveMu.Unlock()
	a.mu.Lock()
	edit(a.record)
	next := a.record.Clone()
	a.mu.Unlock()
	err := a.store.Save(next)
	a.mu.Lock()
	a.unsaved = err != nil
	a.mu.Unlock()
	if err != nil {
		a.setProblem(problemState, err.Error(), "free or repair the disk below "+a.hostFile().Paths.State+"; traffic does not need it")
	} else {
		a.clearProblem(problemState)
	}
	return err
}

// entry begins a line of the history.
func (a *agent) entry(by api.Caller, verb, reason string) state.Entry {
	return state.Entry{At: a.now(), UID: by.UID, User: by.User, Verb: verb, Reason: reason}
}

// audit writes a line of the history. It cannot stop a change that happened.
func (a *agent) audit(e state.Entry) {
	log := a.log.With("verb", e.Verb, "outcome", e.Outcome, "user", e.User, "uid", e.UID, "reason", e.Reason)
	if !e.Digest.IsZero() {
		log = log.With("digest", e.Digest.Short(), "name", e.Name, "number", e.Number)
	}
	log.Info("change")
	if err := a.store.Append(e); err != nil {
		a.setProblem(problemHistory, err.Error(), "free or repair the disk; changes are in the log")
		return
	}
	a.clearProblem(problemHistory)
}

// itself is the caller of what the agent does by itself.
func itself() api.Caller { return api.Caller{User: "agent"} }
