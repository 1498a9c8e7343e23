// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/view"
)

// Disk is what is needed of the state folder.
type Disk interface {
	Bundle(config.Digest) (*config.Bundle, error)
	Attempt(work string) (end func())
}

// Options of New. All are needed.
type Options struct {
	Log    *slog.Logger
	Ledger *ledger.Ledger
	Disk   Disk
	// Host is the host file in force.
	Host    func() *config.Host
	Network view.Network
	// Owner locks the pins, Root opens the root of whatever decides.
	Owner func(folder string) (Ownership, error)
	Root  func(folder string) (Root, error)
}

// Plane is the kernel part of one agent.
type Plane struct {
	Options

	handle  handle
	places  places
	images  images
	drift   drift
	counted counted

	// pins belongs to the job that loads the dataplane, and then to the goroutine that ticks; nil until they could be locked.
	pins Ownership

	// These belong to the goroutine that ticks.
	lastSweep  time.Time
	lastEgress time.Time
	egressOn   []string // interfaces, then
}

// handle is the dataplane: readers use it while they hold the read lock, so it is never closed under them.
type handle struct {
	mu     sync.RWMutex
	kernel Dataplane // nil while it cannot be opened
	beat   *Heartbeat
	// before is the root of a dataplane of another layout that decides; beforeBeat runs while an upgrade from it is held.
	before     Root
	beforeBeat *Heartbeat
}

// places are the interfaces of the host file.
type places struct {
	mu      sync.Mutex
	all     map[string]*place
	repairs map[string]uint64
}

// images are of the last generations, as they were built.
type images struct {
	mu       sync.Mutex
	byNumber map[uint32]*loader.Image
}

// drift is what the last comparison found.
type drift struct {
	mu   sync.Mutex
	last *api.Drift
}

// counted is what the counters grew by at the last looks, and in how long.
type counted struct {
	mu   sync.Mutex
	last view.Counted
	span time.Duration
}

// New opens nothing yet.
func New(o Options) *Plane {
	return &Plane{Options: o, places: places{all: map[string]*place{}, repairs: map[string]uint64{}}, images: images{byNumber: map[uint32]*loader.Image{}}}
}

// Install takes a dataplane into use, with its heartbeat.
func (pl *Plane) Install(d Dataplane) {
	pl.handle.mu.Lock()
	defer pl.handle.mu.Unlock()
	pl.handle.kernel, pl.handle.beat = d, StartHeartbeat(d)
}

// Beat is the heartbeat of the dataplane in use. Who asks uses it.
func (pl *Plane) Beat() *Heartbeat { return pl.handle.beat }

// Repairs returns how often what was repaired.
func (pl *Plane) Repairs() map[string]uint64 {
	pl.places.mu.Lock()
	defer pl.places.mu.Unlock()
	return maps.Clone(pl.places.repairs)
}

// Drift is what the last comparison found; nil before it.
func (pl *Plane) Drift() *api.Drift {
	pl.drift.mu.Lock()
	defer pl.drift.mu.Unlock()
	return pl.drift.last
}

// Ending reports whether somebody waits to close the handle, or has it alone.
func (pl *Plane) Ending() bool {
	if pl.handle.mu.TryRLock() { // refused as soon as a writer waits
		pl.handle.mu.RUnlock()
		return false
	}
	return true
}
