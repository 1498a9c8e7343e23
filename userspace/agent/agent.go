// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/metrics"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// agent is the running process.
type agent struct {
	opts    Options
	log     *slog.Logger
	store   *state.Store
	started time.Time
	hub     *hub
	totals  *totals
	scrapes http.Handler // of metrics, for everybody who asks

	// change is held by whoever builds and publishes what the kernel enforces, for as long as that takes: one at a time.
	change sync.Mutex

	// swap is held while the control word and the record of it change together: for a moment. It is taken after change. A
	// rollback takes it alone, so that it never waits for a bundle that is being built; wentBack tells whoever builds.
	swap     sync.Mutex
	wentBack atomic.Uint64
	noted    map[int64]bool // notes that are in the record, by their moment; swap guards it

	// kernelMu guards the handle itself: readers use it while they hold the read lock, so it is never closed under them.
	kernelMu sync.RWMutex
	kernel   dataplane // nil while it cannot be opened
	beat     *heartbeat
	// before is the root of a dataplane of another layout that decides; beforeBeat runs while an upgrade from it is held.
	before     anyRoot
	beforeBeat *heartbeat

	// bypassMu orders changes of the bypass. It is not change: who panics does not wait for an apply.
	bypassMu sync.Mutex

	// banMu orders changes of bans, for the same reason, and guards what follows.
	banMu       sync.Mutex
	bansMissing bool   // bans of the record could not be put into new maps yet
	banEpoch    uint64 // of the kernel, when the record was last what it is there
	bansSettled bool   // since the start, flows were told to look at the bans again

	rollouts rollouts
	// parsing is held while an uploaded bundle is read or compared, one at a time; never while change is.
	parsing sync.Mutex

	listens atomic.Bool // the socket could be made
	jobs    *jobs       // what the site needs
	spare   *jobs       // what it does not
	// wired: the links of the kernel part were looked after once. adopted: the rest was tried once, too.
	wired, adopted atomic.Bool
	reopened       atomic.Bool // the state folder can be used at last: adopt again
	expiriesMoved  atomic.Bool // the wall clock was set: expiries of rules may be wrong
	hungUp         atomic.Bool // a SIGHUP waits for its reload

	disk hostfile.Watch // of the host file

	// saveMu orders writes of the record; it is taken before mu.
	saveMu sync.Mutex

	// mu guards what follows. Nothing slow happens under it.
	mu        sync.Mutex
	file      *hostfile.File // the host file in force
	record    *state.Record
	unsaved   bool
	problems  map[string]api.Problem
	places    map[string]*place
	known     map[config.Digest]*knownBundle
	images    map[uint32]*loader.Image
	drift     *api.Drift
	repairs   map[string]uint64
	applies   map[string]uint64
	rollbacks uint64
	silent    uint64 // sockets of silent blocked connections that were closed
	banTimes  []time.Time
	counted   view.Counted // what was counted in countedIn
	countedIn time.Duration

	// These belong to the goroutine that ticks.
	clockZero  time.Time // when the kernel's clock was 0, by the wall clock of the last look
	idle       bool      // at the last look the stable bundle decided nothing: its bake begins anew
	lastDrift  time.Time
	lastSave   time.Time
	lastNotify time.Time
	lastSweep  time.Time
	lastEgress time.Time
	egressOn   []string // interfaces, then
	baked      bakedAt  // what tellBaked last told
	bakedTold  bool
	ready      bool // systemd was told

	// pins belongs to the job that loads the dataplane, and then to the goroutine that ticks; nil until they could be locked.
	pins ownership

	// These belong to the job that runs; while none runs, to the goroutine that ticks.
	openRetry   retry
	stale       atomic.Bool // this process cannot open the kernel part any more; another one may
	blank       bool        // the kernel held nothing, and what the record would give it could not be read yet
	unadopted   bool        // something of adoption failed and may be tried again
	adoptRetry  retry
	expiryRetry retry
}

func newAgent(o Options, s *state.Store) *agent {
	a := &agent{
		opts: o, log: o.Log, store: s, started: o.Now(), hub: newHub(), totals: newTotals(),
		file: o.file(), problems: map[string]api.Problem{}, places: map[string]*place{},
		known: map[config.Digest]*knownBundle{}, images: map[uint32]*loader.Image{},
		repairs: map[string]uint64{}, applies: map[string]uint64{}, jobs: newJobs(o.spawn), spare: newJobs(o.spawn),
	}
	a.scrapes = metrics.Handler(a)
	var err error
	if a.record, err = s.Load(); err != nil {
		a.tellUnread(err)
	}
	a.loadQueue()
	if a.record.Bypass == nil {
		a.record.Bypass = map[string]state.Bypass{}
	}
	return a
}

func (a *agent) now() time.Time { return a.opts.Now() }

// use returns the dataplane and a function that gives it back. A goroutine that has it must not ask again: it would wait
// for an agent that ends, and that one for it.
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
	a.lookAway()
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
	return a.file.Host
}

// loaded returns the host file in force, or the one that shall be.
func (a *agent) loaded() *hostfile.File {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.file
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
	if e.Name != "" {
		log = log.With("name", e.Name)
	}
	if !e.Digest.IsZero() {
		log = log.With("digest", e.Digest.Short(), "number", e.Number)
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
