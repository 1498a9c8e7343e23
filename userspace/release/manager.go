// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"sync"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
)

// Manager brings bundles into force and back. Each part has its own noun and, where it needs one, its own lock; what
// one asks of another it asks below:
//
//	queue ─▶ applier ─┬▶ candidates ─▶ rollouts
//	  │               ├▶ builder, guard, archive, bake
//	  └────▶ backs ───┘
//	settler ─▶ clock ─▶ hosts ─▶ builder, candidates
type Manager struct {
	*site
	change   *changing
	swap     *swap
	rollouts *rollouts
	archive  *archive
	reader   *reader
	queue    *queue
	backs    *backs

	candidates *candidates
	bake       *bake
	modes      *modes
	clock      *clock
	hostFiles
	settler *settler
	staged
}

// hostFiles are the parts that publish host files.
type hostFiles struct {
	hosts   *hosts
	upgrade *upgrade
}

// staged are the parts for who carries changes out in stages.
type staged struct {
	orders *orders
	hand   *Stagehand
}

// New takes up what waited for a former agent.
func New(o Options) *Manager {
	s := &site{log: o.Log, ledger: o.Ledger, file: o.File, tally: &tally{applies: map[string]uint64{}}}
	if o.Stage == nil {
		o.Stage = noStage{}
	}
	mg := &Manager{site: s, change: &changing{use: o.Use}}
	mg.rollouts = &rollouts{site: s, disk: o.Disk}
	mg.swap = &swap{ended: mg.rollouts.isEnded}
	mg.archive = &archive{site: s, use: o.Use, disk: o.Disk, waiting: func() []config.Digest {
		return append(mg.rollouts.digests(), o.Stage.Needs()...)
	}}
	g := &guard{site: s, own: o.Own}
	mg.reader = &reader{site: s, parser: parser{own: o.Own}, use: o.Use, judge: o.Judge, archive: mg.archive,
		guard: g, hostPath: o.HostPath, traffic: o.Stage.Traffic}
	b := &builder{site: s, disk: o.Disk, own: o.Own, clock: o.Clock, keep: o.Keep, count: o.Count,
		stays: o.Stage.Keeps}
	mg.candidates = &candidates{site: s, swap: mg.swap, rollouts: mg.rollouts, lease: o.Lease, judge: o.Judge,
		stage: o.Stage}
	mg.bake = &bake{site: s, disk: o.Disk, lease: o.Lease, judge: o.Judge, stage: o.Stage}
	mg.modes = &modes{site: s, disk: o.Disk}
	mg.backs = &backs{site: s, use: o.Use, change: mg.change, swap: mg.swap, rollouts: mg.rollouts,
		archive: mg.archive, guard: g, builder: b,
		candidates: mg.candidates, modes: mg.modes, lease: o.Lease, judge: o.Judge, notes: o.Disk,
		stage: o.Stage}
	ap := &applier{site: s, disk: o.Disk, swap: mg.swap, archive: mg.archive, guard: g, builder: b,
		candidates: mg.candidates, bake: mg.bake,
		lookBeside: mg.backs.lookBeside, judge: o.Judge}
	mg.queue = &queue{site: s, use: o.Use, disk: o.Disk, change: mg.change, swap: mg.swap, rollouts: mg.rollouts,
		archive: mg.archive, reader: mg.reader,
		carrier: ap, backs: mg.backs}
	mg.hosts = &hosts{site: s, swap: mg.swap, builder: b, candidates: mg.candidates, modes: mg.modes,
		endBypasses: o.EndBypasses, disk: o.Disk, use: o.Use,
		before: &before{site: s, disk: o.Hosts, path: o.HostPath}}
	mg.clock = &clock{site: s, read: o.Clock, shift: o.Shift, again: mg.hosts.again}
	mg.upgrade = &upgrade{site: s, swap: mg.swap, builder: b, modes: mg.modes, before: mg.hosts.before}
	mg.settler = &settler{site: s, swap: mg.swap, rollouts: mg.rollouts, candidates: mg.candidates, bake: mg.bake,
		clock: mg.clock, takeNotes: mg.backs.takeNotes}
	mg.orders = &orders{site: s, use: o.Use, disk: o.Disk, reader: mg.reader, guard: g,
		archive: mg.archive, standing: ap.standing}
	mg.hand = &Stagehand{site: s, use: o.Use, disk: o.Disk, change: mg.change, swap: mg.swap, builder: b, guard: g,
		bake: mg.bake, orders: mg.orders, lease: o.Lease, takeNotes: mg.backs.takeNotes}
	mg.rollouts.load()
	return mg
}

// Hand does what the engine of stages asks for.
func (mg *Manager) Hand() *Stagehand { return mg.hand }

// OrderBack is the order that gives one bundle back the version before.
func (mg *Manager) OrderBack(by api.Caller, name, reason string) (*Wanted, error) {
	return mg.orders.back(by, name, reason)
}

// Order checks a change that goes in stages, and publishes nothing.
func (mg *Manager) Order(ctx context.Context, by api.Caller, r api.RolloutRequest, files api.Files) (*Wanted, error) {
	return mg.orders.read(ctx, by, r, files)
}

// Begin takes the change lock and the dataplane.
func (mg *Manager) Begin() (Kernel, func(), error) { return mg.change.begin() }

// Change is the lock of whoever changes what the kernel enforces.
func (mg *Manager) Change() sync.Locker { return mg.change }

// Counts returns how many applies had which outcome, and how many rollbacks there were.
func (mg *Manager) Counts() (applies map[string]uint64, rollbacks uint64) { return mg.tally.counts() }

// TellMode says that a host observes although its file says enforce.
func (mg *Manager) TellMode() { mg.modes.tell() }
