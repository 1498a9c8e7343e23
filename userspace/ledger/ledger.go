// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/state"
)

// Files are what is needed of the state folder: *state.Store, or what stands for it in a test.
type Files interface {
	recordFiles
	bundleFiles
	historyFile
	Crashed(work string) (times int, last time.Time)
	Attempt(work string) (end func())
}

// historyFile is what was done, a line each.
type historyFile interface {
	Append(state.Entry) error
	History(limit int) (entries []state.Entry, skipped int, err error)
}

type recordFiles interface {
	Load() (*state.Record, error)
	Save(*state.Record) error
	Reopen() (*state.Record, error)
}

type bundleFiles interface {
	Bundle(config.Digest) (*config.Bundle, error)
	Members(config.Digest) ([]config.Member, error)
	Names(config.Digest) (*state.Names, error)
	SaveNames(*config.Bundle) error
}

var _ Files = (*state.Store)(nil)

// Options of New. All are needed.
type Options struct {
	Log *slog.Logger
	Now func() time.Time
	// Folder is the state's, for people who shall repair it.
	Folder string
}

// Ledger is the record, the history, the names and the problems of one agent. Its methods may be called by several
// goroutines.
type Ledger struct {
	store  Files
	log    *slog.Logger
	now    func() time.Time
	folder string

	record   record
	names    names
	problems problems
}

// record is the copy in memory. save orders writes; it is taken before mu, and nothing slow happens under mu.
type record struct {
	save    sync.Mutex
	mu      sync.Mutex
	last    *state.Record
	unsaved bool // the disk refused it
}

// New takes up what the state folder says. What cannot be read is a problem, and read later.
func New(s Files, o Options) *Ledger {
	l := &Ledger{store: s, log: o.Log, now: o.Now, folder: o.Folder,
		names: names{known: map[config.Digest]*Bundle{}}, problems: problems{all: map[string]api.Problem{}}}
	r, err := s.Load()
	if err != nil {
		l.tellUnread(err)
	}
	if r.Bypass == nil {
		r.Bypass = map[string]state.Bypass{}
	}
	l.record.last = r
	return l
}

// Now is the wall clock.
func (l *Ledger) Now() time.Time { return l.now() }

// Record returns a copy of the record.
func (l *Ledger) Record() *state.Record {
	l.record.mu.Lock()
	defer l.record.mu.Unlock()
	return l.record.last.Clone()
}

// Update changes the record and writes it. When the disk refuses, the record in memory is right and is written later.
func (l *Ledger) Update(edit func(*state.Record)) error {
	l.record.save.Lock()
	defer l.record.save.Unlock()
	l.record.mu.Lock()
	edit(l.record.last)
	next := l.record.last.Clone()
	l.record.mu.Unlock()
	err := l.store.Save(next)
	l.record.mu.Lock()
	l.record.unsaved = err != nil
	l.record.mu.Unlock()
	if err != nil {
		l.SetProblem(ProblemState, err.Error(), "free or repair the disk below "+l.folder+"; traffic does not need it")
	} else {
		l.ClearProblem(ProblemState)
	}
	return err
}

// Unsaved reports whether the record on disk is older than the one in memory.
func (l *Ledger) Unsaved() bool {
	l.record.mu.Lock()
	defer l.record.mu.Unlock()
	return l.record.unsaved
}

// NextRollout gives an id that no rollout had. It is written with the next change of the record.
func (l *Ledger) NextRollout() string {
	l.record.mu.Lock()
	defer l.record.mu.Unlock()
	l.record.last.LastRollout++
	return strconv.FormatUint(l.record.last.LastRollout, 10)
}

// HadRollout notes an id that was given before.
func (l *Ledger) HadRollout(n uint64) {
	l.record.mu.Lock()
	defer l.record.mu.Unlock()
	l.record.last.LastRollout = max(l.record.last.LastRollout, n)
}

// known is what the record says of a set.
func (l *Ledger) known(d config.Digest) (state.Generation, bool) {
	l.record.mu.Lock()
	defer l.record.mu.Unlock()
	return l.record.last.Known(d)
}
