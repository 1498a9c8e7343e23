// SPDX-License-Identifier: Apache-2.0

package state

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another process holds the state: an agent, or a command without one.
var ErrLocked = errors.New("the state is locked by another process")

// Options of a Store. The zero value logs nothing and takes the time of now.
type Options struct {
	Log *slog.Logger
	Now func() time.Time
	// Fault, when not nil, is asked before each operation on disk (create, write, sync, rename) and may refuse it. Tests
	// use it to fill the disk at any point.
	Fault func(op, path string) error
}

// Store is the state folder, locked for this process. Its methods may be called by several goroutines.
type Store struct {
	dir  string
	opts Options
	log  *slog.Logger

	mu      sync.Mutex // orders writes to history.jsonl, and guards what follows
	damaged []string
	lock    *os.File
	broken  error // the folder cannot be locked: it is only read, and writes return this
}

const (
	lockFile    = "lock"
	recordFile  = "state.json"
	historyFile = "history.jsonl"
	bundleDir   = "bundles"
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
	if err := os.MkdirAll(filepath.Join(dir, bundleDir), 0o750); err != nil {
		return nil, fmt.Errorf("make state folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
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
	sweep(dir)
	sweep(filepath.Join(dir, bundleDir))
	return f, nil
}

// Reopen tries again to lock a folder that could not be used, and reports whether it can be used from now on. What its
// record says must then be read again: nobody could before.
func (s *Store) Reopen() (bool, error) {
	if s.refusal() == nil {
		return false, nil
	}
	f, err := lockFolder(s.dir)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lock, s.broken = f, nil
	return true, nil
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

// Load returns the record. A missing or damaged one is an empty record: then what the kernel holds is all there is.
func (s *Store) Load() *Record {
	empty := &Record{Schema: recordSchema}
	path := filepath.Join(s.dir, recordFile)
	data, err := read(path, maxStateBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return empty
	}
	if err == nil {
		var r *Record
		if r, err = decodeRecord(data); err == nil {
			return r
		}
	}
	s.setAside(path, err)
	return empty
}

// Save replaces the record.
func (s *Store) Save(r *Record) error {
	if err := s.refusal(); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	r.Schema = recordSchema
	data, err := encodeRecord(r)
	if err != nil {
		return err
	}
	return s.replace(filepath.Join(s.dir, recordFile), data)
}
