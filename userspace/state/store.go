// SPDX-License-Identifier: Apache-2.0

package state

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/userspace/folder"
)

// ErrLocked says that another process holds the state: an agent, or a command without one.
var ErrLocked = errors.New("the state is locked by another process")

// Options of a Store. The zero value logs nothing and takes the time of now.
type Options struct {
	Log *slog.Logger
	Now func() time.Time
	// Fault, when not nil, is asked before each operation on disk (read, create, write, sync, rename) and may refuse it.
	// Tests use it to fill the disk at any point.
	Fault func(op, path string) error
}

// ErrUnread says that a file is on disk and cannot be read, so that nothing is written over it.
var ErrUnread = errors.New("the file on disk cannot be read, and is not written over")

// Store is the state folder, locked for this process: a handle for each noun, which knows its own files. Its methods
// may be called by several goroutines.
type Store struct {
	disk *disk
	bans Bans

	records
	bundles
	history
	queues
	attempts
	notes

	hosts  Hosts
	stages Stages
	boots  Boots
}

// Hosts is the handle of the host files that are kept.
func (s *Store) Hosts() *Hosts { return &s.hosts }

// Stages is the handle of what goes in stages.
func (s *Store) Stages() *Stages { return &s.stages }

// Boots is the handle of the count of starts.
func (s *Store) Boots() *Boots { return &s.boots }

// Names in the folder. A file more has its own schema, is sealed as record.json is, and needs no change here.
const (
	lockFile       = "lock"
	recordFile     = "record.json"
	quarantineFile = "quarantine.json"
	bansFile       = "bans.log"
	historyFile    = "history.jsonl"
	bundleDir      = "bundles"
)

// Open locks the folder and makes it when it is missing. It returns ErrLocked when another process has it. The lock is
// a file descriptor's: a killed process leaves nothing stale.
func Open(dir string, o Options) (*Store, error) {
	s := newStore(dir, o)
	var err error
	if s.disk.lock, err = lockFolder(dir); err != nil {
		return nil, err
	}
	return s, nil
}

func lockFolder(dir string) (*os.File, error) {
	in, err := folder.Make(dir, 0o750)
	if err != nil {
		return nil, fmt.Errorf("make state folder: %w", err)
	}
	defer in.Close()
	if err := in.Mkdir(bundleDir, 0o750); err != nil {
		return nil, fmt.Errorf("make folder of bundles: %w", err)
	}
	f, err := in.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock of state: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", dir, ErrLocked)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	sweep(in, ".")
	sweep(in, bundleDir)
	return f, nil
}

// Reopen tries again what could not be used: a folder that could not be locked, and files that could not be read. It
// returns what the disk says once all of it can be used, and nil when nothing was missing.
func (s *Store) Reopen() (*Record, error) {
	broken := s.disk.refusal() != nil
	if !broken && s.Unread() == nil {
		return nil, nil
	}
	if broken {
		f, err := lockFolder(s.disk.dir)
		if err != nil {
			return nil, err
		}
		s.disk.mend(f)
	}
	return s.Load()
}

// Unusable returns a store for a folder that cannot be opened, such as one on a read-only file system: every write
// returns the cause, and what can be read is read, so that last-known-good comes back after a reboot onto such a disk.
// The agent goes on with it, because traffic does not need the disk.
func Unusable(dir string, cause error, o Options) *Store {
	s := newStore(dir, o)
	s.disk.broken = cause
	return s
}

func newStore(dir string, o Options) *Store {
	d := &disk{dir: dir, opts: o, log: o.Log}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	s := &Store{disk: d, bans: Bans{disk: d}, bundles: bundles{d}, history: history{d}, queues: queues{d},
		attempts: attempts{d},
		notes:    notes{d}, hosts: Hosts{d}, stages: Stages{d}, boots: Boots{d}}
	s.records = records{disk: d, bans: &s.bans}
	return s
}

// Close unlocks the folder.
func (s *Store) Close() error { return s.disk.unlock() }

// Damaged returns the files that this process found damaged and moved aside.
func (s *Store) Damaged() []string { return s.disk.found() }
