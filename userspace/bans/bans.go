// SPDX-License-Identifier: Apache-2.0

package bans

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/view"
)

// Kernel is what is needed of the kernel part.
type Kernel interface {
	view.Kernel
	Bans() ([]loader.Ban, error)
	Ban(netip.Prefix, time.Duration) error
	Unban(netip.Prefix) (bool, error)
	SweepBans() (int, error)
	BanEpoch() uint64
	RestoreBans(left map[netip.Prefix]time.Duration) error
	SettleBans() error
}

// Options of New. All are needed.
type Options struct {
	Log    *slog.Logger
	Ledger *ledger.Ledger
	Record *state.Bans
	// Use returns the kernel part and a function that gives it back.
	Use func() (Kernel, func(), error)
	// Host is the host file in force.
	Host func() *config.Host
	// Own returns the addresses of this host: no ban may block them.
	Own func() ([]netip.Addr, error)
	// Judge says what the kernel's state means now.
	Judge func(view.Kernel) view.Verdict
}

// Bans are the single addresses and prefixes that are blocked for a time.
type Bans struct {
	Options

	// mu orders changes of bans, and guards what follows. Who bans does not wait for an apply.
	mu      sync.Mutex
	missing bool   // bans of the record could not be put into new maps yet
	epoch   uint64 // of the kernel, when the record was last what it is there
	settled bool   // since the start, flows were told to look at the bans again
	times   []time.Time
}

// New knows no bans until Adopt.
func New(o Options) *Bans { return &Bans{Options: o} }

// Flush writes what the disk refused before.
func (s *Bans) Flush() { _ = s.told(s.Record.Flush()) }

// Shift moves the ends of bans on disk with the wall clock: the kernel's own do not move.
func (s *Bans) Shift(by time.Duration) { _ = s.told(s.Record.Shift(by)) }

// Epoch is that of the kernel's bans when the record last was what they are.
func (s *Bans) Epoch() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}
