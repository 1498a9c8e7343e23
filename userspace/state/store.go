// SPDX-License-Identifier: Apache-2.0

package state

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
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

// Store is the state folder, locked for this process. Its methods may be called by several goroutines.
type Store struct {
	dir  string
	opts Options
	log  *slog.Logger

	bans Bans

	// record guards what follows: what is known of the files of the record. It is taken before mu.
	record struct {
		sync.Mutex
		loaded     bool
		unread     error    // one of them cannot be read: nothing is written over them
		old        *record1 // of a release before, and not yet converted
		quarantine quarantine
		written    []byte // quarantine.json as it was written last
	}

	mu      sync.Mutex // orders writes to history.jsonl, and guards what follows
	damaged []string
	lock    *os.File
	broken  error // the folder cannot be locked: it is only read, and writes return this
}

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
	if s.lock, err = lockFolder(dir); err != nil {
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
	broken := s.refusal() != nil
	if !broken && s.Unread() == nil {
		return nil, nil
	}
	if broken {
		f, err := lockFolder(s.dir)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		s.lock, s.broken = f, nil
		s.mu.Unlock()
	}
	return s.Load()
}

// Unread is why something of the record or of the bans is not known yet; nil when all that is on disk is.
func (s *Store) Unread() error {
	s.record.Lock()
	defer s.record.Unlock()
	return errors.Join(s.record.unread, s.bans.Unread())
}

// refusal is why nothing can be written; nil when it can.
func (s *Store) refusal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// Unusable returns a store for a folder that cannot be opened, such as one on a read-only file system: every write
// returns the cause, and what can be read is read, so that last-known-good comes back after a reboot onto such a disk.
// The agent goes on with it, because traffic does not need the disk.
func Unusable(dir string, cause error, o Options) *Store {
	s := newStore(dir, o)
	s.broken = cause
	return s
}

func newStore(dir string, o Options) *Store {
	s := &Store{dir: dir, opts: o, log: o.Log}
	s.bans.s = s
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

func (s *Store) now() time.Time {
	if s.opts.Now != nil {
		return s.opts.Now()
	}
	return time.Now()
}

// Close unlocks the folder.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

// Damaged returns the files that this process found damaged and moved aside.
func (s *Store) Damaged() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.damaged)
}
