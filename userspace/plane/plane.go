// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"log/slog"
	"sync"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/hostfile"
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
	// Host is the host file in force; File is it with what it is compared with.
	Host    func() *config.Host
	File    func() *hostfile.File
	Network view.Network
	// Owner locks the pins, Root opens the root of whatever decides.
	Owner func(folder string) (Ownership, error)
	Root  func(folder string) (Root, error)
}

// Plane is the kernel part of one agent.
type Plane struct {
	*Options
	Links *Links
	Rows  *Rows

	handle  handle
	counted counted

	// pins belongs to the job that loads the dataplane, and then to the goroutine that ticks; nil until they could be
	// locked.
	pins Ownership

	lastSweep time.Time // belongs to the goroutine that ticks
}

// handle is the dataplane: readers use it while they hold the read lock, so it is never closed under them.
type handle struct {
	mu     sync.RWMutex
	kernel Kernel // nil while it cannot be opened
	beat   *Heartbeat
	// before is the root of a dataplane of another layout that decides; beforeBeat runs while an upgrade from it is held.
	before     Root
	beforeBeat *Heartbeat
}

// counted is what the counters grew by at the last looks, and in how long.
type counted struct {
	mu   sync.Mutex
	last view.Counted
	span time.Duration
}

// New opens nothing yet.
func New(o Options) *Plane {
	pl := &Plane{Options: &o, Links: &Links{Options: &o, all: map[string]*place{}, repairs: map[string]uint64{}}}
	pl.Rows = &Rows{Options: &o, use: pl.Use, links: pl.Links, images: images{byNumber: map[uint32]*compile.Image{}}}
	return pl
}

// interfaceNames are those of the host file.
func (o *Options) interfaceNames() []string {
	var names []string
	for _, i := range o.Host().Interfaces {
		names = append(names, i.Name)
	}
	return names
}

// Install takes a dataplane into use, with its heartbeat.
func (pl *Plane) Install(d Kernel) {
	pl.handle.mu.Lock()
	defer pl.handle.mu.Unlock()
	pl.handle.kernel, pl.handle.beat = d, StartHeartbeat(d)
}

// Beat is the heartbeat of the dataplane in use. Who asks uses it.
func (pl *Plane) Beat() *Heartbeat { return pl.handle.beat }

// Ending reports whether somebody waits to close the handle, or has it alone.
func (pl *Plane) Ending() bool {
	if pl.handle.mu.TryRLock() { // refused as soon as a writer waits
		pl.handle.mu.RUnlock()
		return false
	}
	return true
}
