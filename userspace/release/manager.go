// SPDX-License-Identifier: Apache-2.0

package release

import (
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/hostfile"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/retry"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// Kernel is what is needed of the kernel part.
type Kernel interface {
	view.Kernel
	Build(img *loader.Image, beside ...uint8) (uint8, error)
	BuildHost(*loader.HostImage) (uint8, error)
	VerifyHost(*loader.HostImage) ([]loader.Drift, error)
	NextNumber() (uint32, error)
	Publish(loader.Change) (loader.Control, error)
	Promote() (loader.Control, error)
	Withdraw() (loader.Control, error)
	DropGenerations() (loader.Control, error)
	SetTripped(generation uint32)
	SetBaked(generation uint32)
}

// Lease is the heartbeat's hold of a candidate.
type Lease interface {
	Hold(number uint32, lease time.Duration, until loader.Deadline)
	GoOn(number uint32, lease time.Duration, until loader.Deadline) bool
	Renew()
	Release()
	Lapsed() uint32
	Stopped() bool
	Slept() time.Duration
	TakeSlept() time.Duration
}

// Disk is what is needed of the state folder: bundles, the queue, and notes of who went back beside an agent that hung.
type Disk interface {
	Bundle(config.Digest) (*config.Bundle, error)
	Set(config.Digest) (*config.Set, error)
	SaveBundle(*config.Bundle) error
	SaveSet(*config.Set) error
	Bundles() []config.Digest
	Has(config.Digest) bool
	Whole(config.Digest) error
	Prune(keep []config.Digest) error
	Queue() ([]state.Queued, error)
	SaveQueue([]state.Queued) error
	Notes() (notes []state.Back, drop func())
}

var _ Disk = (*state.Store)(nil)

// Options of New. All but HostPath are needed.
type Options struct {
	Log    *slog.Logger
	Ledger *ledger.Ledger
	Disk   Disk
	// File is the host file in force; HostPath is where the next one is.
	File     func() *hostfile.File
	HostPath string
	// Own returns the addresses of this host: no bundle may block them.
	Own func() ([]netip.Addr, error)
	// Clock reads both clocks.
	Clock func() loader.Clock
	Around
}

// Around is what stands beside the releases.
type Around struct {
	// Use returns the kernel part and a function that gives it back.
	Use func() (Kernel, func(), error)
	// Lease is that of the kernel part in use.
	Lease func() Lease
	// Judge says what the kernel's state means now.
	Judge func(view.Kernel) view.Verdict
	// Keep remembers an image that was built.
	Keep func(*loader.Image)
	// Count takes what the kernel counted, before a slot is filled again.
	Count func(Kernel)
	// EndBypasses ends those of services that left the host file.
	EndBypasses func(k Kernel, before *loader.HostInfo, next *config.Host)
	// Shift moves what else is kept in wall time, when that clock was set.
	Shift func(time.Duration)
}

// Manager brings bundles into force and back.
type Manager struct {
	Options

	// change is held by whoever builds and publishes what the kernel enforces, for as long as that takes: one at a time.
	change sync.Mutex

	// swap is held while the control word and the record of it change together: for a moment. It is taken after change. A
	// rollback takes it alone, so that it never waits for a bundle that is being built; wentBack tells whoever builds.
	swap     sync.Mutex
	wentBack atomic.Uint64
	noted    map[int64]bool // notes that are in the record, by their moment; swap guards it

	// parsing is held while an uploaded bundle is read or compared, one at a time; never while change is.
	parsing sync.Mutex

	rollouts rollouts
	tally    tally
	expiries expiries
	settled  settled
}

// expiries of rules are wall time, and kernel time in what is compiled.
type expiries struct {
	moved atomic.Bool // the wall clock was set: they may be wrong
	retry retry.Retry // of the job
}

// settled is what the goroutine that settles saw last.
type settled struct {
	clockZero time.Time // when the kernel's clock was 0, by the wall clock of the last look
	idle      bool      // the stable bundle decided nothing: its bake begins anew
	baked     bakedAt   // what tellBaked last told
	bakedTold bool
}

// New takes up what waited for a former agent.
func New(o Options) *Manager {
	mg := &Manager{Options: o, tally: tally{applies: map[string]uint64{}}}
	mg.loadQueue()
	return mg
}

// Host is the host file in force.
func (mg *Manager) Host() *config.Host { return mg.File().Host }

// Change is the lock of whoever changes what the kernel enforces.
func (mg *Manager) Change() sync.Locker { return &mg.change }

// TrySettle settles unless a change runs; around is done with it.
func (mg *Manager) TrySettle(d Kernel, before, after func()) {
	if !mg.change.TryLock() {
		return
	}
	defer mg.change.Unlock()
	before()
	mg.settle(d)
	after()
}

// Adopt makes record and word agree when an agent starts: the kernel is right, but a candidate whose lease is dead goes. away
// is for how long no agent lived. The change lock is held.
func (mg *Manager) Adopt(d Kernel, away time.Duration) {
	mg.swap.Lock()
	defer mg.swap.Unlock()
	mg.takeNotes()
	mg.adoptCandidate(d)
	mg.adoptStable(d, away)
}

// ExpiriesDue reports whether RenewExpiries is.
func (mg *Manager) ExpiriesDue() bool {
	return mg.expiries.moved.Load() && mg.expiries.retry.Due(mg.Ledger.Now())
}
