// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/bans"
	"github.com/spillway/spillway/userspace/bypass"
	"github.com/spillway/spillway/userspace/events"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/metrics"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/retry"
	"github.com/spillway/spillway/userspace/state"
)

// agent is the running process.
type agent struct {
	opts    Options
	log     *slog.Logger
	ledger  *ledger.Ledger
	started time.Time
	events  *events.Events
	plane   *plane.Plane
	bans    *bans.Bans
	bypass  *bypass.Switch
	totals  *totals
	scrapes http.Handler // of metrics, for everybody who asks

	// change is held by whoever builds and publishes what the kernel enforces, for as long as that takes: one at a time.
	change sync.Mutex

	// swap is held while the control word and the record of it change together: for a moment. It is taken after change. A
	// rollback takes it alone, so that it never waits for a bundle that is being built; wentBack tells whoever builds.
	swap     sync.Mutex
	wentBack atomic.Uint64
	noted    map[int64]bool // notes that are in the record, by their moment; swap guards it

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

	// mu guards what follows. Nothing slow happens under it.
	mu        sync.Mutex
	file      *hostfile.File // the host file in force
	applies   map[string]uint64
	rollbacks uint64
	silent    uint64 // sockets of silent blocked connections that were closed

	// These belong to the goroutine that ticks.
	clockZero  time.Time // when the kernel's clock was 0, by the wall clock of the last look
	idle       bool      // at the last look the stable bundle decided nothing: its bake begins anew
	lastDrift  time.Time
	lastSave   time.Time
	lastNotify time.Time
	baked      bakedAt // what tellBaked last told
	bakedTold  bool
	ready      bool // systemd was told

	// These belong to the job that runs; while none runs, to the goroutine that ticks.
	openRetry   retry.Retry
	stale       atomic.Bool // this process cannot open the kernel part any more; another one may
	blank       bool        // the kernel held nothing, and what the record would give it could not be read yet
	unadopted   bool        // something of adoption failed and may be tried again
	adoptRetry  retry.Retry
	expiryRetry retry.Retry
}

func newAgent(o Options, s *state.Store) *agent {
	a := &agent{
		opts: o, log: o.Log, started: o.Now(), totals: newTotals(),
		ledger:  ledger.New(s, ledger.Options{Log: o.Log, Now: o.Now, Folder: o.Host.Paths.State}),
		file:    o.file(),
		applies: map[string]uint64{}, jobs: newJobs(o.spawn), spare: newJobs(o.spawn),
	}
	a.scrapes = metrics.Handler(a)
	a.events = events.New(events.Options{Log: o.Log, Now: o.Now, Ledger: a.ledger,
		Use:  func() (events.Ring, func(), error) { return a.plane.Use() },
		Full: func() bool { return a.hostFile().Privacy.Addresses != config.AddressesTruncated }})
	a.plane = plane.New(plane.Options{Log: o.Log, Ledger: a.ledger, Host: a.hostFile, Network: o.network, Owner: o.owner, Root: o.root})
	a.bans = bans.New(bans.Options{Log: o.Log, Ledger: a.ledger, Host: a.hostFile, Own: func() ([]netip.Addr, error) { return a.opts.own() }, Judge: a.plane.Verdict,
		Use: func() (bans.Kernel, func(), error) { return a.plane.Use() }})
	a.bypass = bypass.New(bypass.Options{Log: o.Log, Ledger: a.ledger, Read: a.plane.Reading,
		Use: func() (bypass.Kernel, func(), error) { return a.plane.Use() }})
	a.loadQueue()
	return a
}

func (a *agent) now() time.Time { return a.opts.Now() }

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
