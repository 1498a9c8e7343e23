// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/bans"
	"github.com/spillway/spillway/userspace/bypass"
	"github.com/spillway/spillway/userspace/events"
	"github.com/spillway/spillway/userspace/health"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/metrics"
	"github.com/spillway/spillway/userspace/plane"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/retry"
	"github.com/spillway/spillway/userspace/serve"
	"github.com/spillway/spillway/userspace/silent"
	"github.com/spillway/spillway/userspace/stages"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// agent is the running process: the rooms, and what wires them.
type agent struct {
	opts    Options
	log     *slog.Logger
	started time.Time
	rooms
	totals *metrics.Totals
	jobs   *jobs // what the site needs
	spare  *jobs // what it does not
	opening
	boot boot
	ticks
	tasting tasting
	hungUp  atomic.Bool // a SIGHUP waits for its reload
	// a reload runs: it asks itself for the stages of what comes in them
	reloading atomic.Bool
}

// rooms each have their own state and locks.
type rooms struct {
	store   *state.Store
	ledger  *ledger.Ledger
	host    *hostfile.InForce
	plane   *plane.Plane
	events  *events.Events
	bans    *bans.Bans
	bypass  *bypass.Switch
	silent  *silent.Sockets
	serve   *serve.Server
	release *release.Manager
	health  *health.Asker
	stages  *stages.Stages
	front   *stages.Front
}

// opening is how far the kernel part is taken over.
type opening struct {
	// wired: the links of the kernel part were looked after once. adopted: the rest was tried once, too.
	wired, adopted atomic.Bool
	reopened       atomic.Bool // the state folder can be used at last: adopt again
	stale          atomic.Bool // this process cannot open the kernel part any more; another one may

	// These belong to the job that runs; while none runs, to the goroutine that ticks.
	openRetry  retry.Retry
	blank      bool // the kernel held nothing, and what the record would give it could not be read yet
	unadopted  bool // something of adoption failed and may be tried again
	adoptRetry retry.Retry
	// of a host file that shall count for everybody
	acceptRetry retry.Retry
}

// ticks belong to the goroutine that ticks.
type ticks struct {
	drift      pace
	lastSave   time.Time
	lastNotify time.Time
	lastSpare  time.Time
	ready      bool // systemd was told
}

func newAgent(o Options, s *state.Store) *agent {
	a := &agent{opts: o, log: o.Log, started: o.Now(), jobs: newJobs(o.spawn), spare: newJobs(o.spawn)}
	a.store = s
	a.ledger = ledger.New(s, ledger.Options{Log: o.Log, Now: o.Now, Folder: o.Host.Paths.State})
	a.host = hostfile.New(hostfile.Options{Problems: a.ledger, Keeper: s.Hosts(), Path: o.HostPath}, o.file())
	a.totals = metrics.NewTotals(a.ledger.RuleOf)
	a.silent = silent.New(silent.Options{Ledger: a.ledger, Use: func() (silent.Kernel, func(), error) { return a.use() }})
	a.events = events.New(events.Options{Log: o.Log, Now: o.Now, Ledger: a.ledger,
		Use:  func() (events.Ring, func(), error) { return a.use() },
		Full: func() bool { return a.host.Host().Privacy.Addresses != config.AddressesTruncated }})
	a.plane = plane.New(plane.Options{Log: o.Log, Ledger: a.ledger, Disk: s, Host: a.host.Host, File: a.host.File,
		Network: o.network,
		Owner:   o.owner, Root: o.root})
	a.bans = bans.New(bans.Options{Log: o.Log, Ledger: a.ledger, Record: s.Bans(), Host: a.host.Host,
		Own: func() ([]netip.Addr, error) { return a.opts.own() }, Judge: a.plane.Verdict,
		Use: func() (bans.Kernel, func(), error) { return a.use() }})
	a.bypass = bypass.New(bypass.Options{Log: o.Log, Ledger: a.ledger, Read: a.plane.Reading,
		Use: func() (bypass.Kernel, func(), error) { return a.use() }})
	a.health = health.New(health.Options{Log: o.Log, Now: o.Now,
		Host: func() config.Health { return a.host.Host().Health }})
	a.stages = stages.New(a.staged())
	a.release = release.New(release.Options{Log: o.Log, Ledger: a.ledger, Disk: s, Hosts: s.Hosts(), File: a.host.File,
		HostPath: o.HostPath,
		Own:      func() ([]netip.Addr, error) { return a.opts.own() }, Clock: o.clock, Around: a.around()})
	a.front = stages.NewFront(a.release, a.stages)
	a.serve = serve.New(serve.Options{Log: o.Log, Ledger: a.ledger,
		Listen: func() config.Listen { return a.host.Host().Listen }, Scrapes: metrics.Handler(a)},
		api.Backend{Site: a, Kernel: a.plane.Rows, Release: a.front, Bans: a.bans, Bypass: a.bypass,
			Events: a.events, Ledger: a.ledger, Stages: a.front})
	return a
}

func (a *agent) now() time.Time { return a.opts.Now() }

// around is what the releases need of the other rooms.
func (a *agent) around() release.Around {
	return release.Around{
		Use:   func() (release.Kernel, func(), error) { return a.use() },
		Lease: func() release.Lease { return a.plane.Beat() },
		Judge: a.plane.Verdict,
		Keep:  a.plane.Rows.KeepImage,
		Count: func(k view.Kernel) { a.totals.Collect(k.(dataplane)) },
		EndBypasses: func(k release.Kernel, before *compile.HostInfo, next *config.Host) {
			a.bypass.EndLeft(k.(bypass.Kernel), before, next)
		},
		Stage: a.stages.Around(),
		Shift: a.bans.Shift,
	}
}
