// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"log/slog"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/state"
)

// files is a state folder in memory.
type files struct {
	record  state.Record
	saved   int
	lines   []state.Entry
	bundles map[config.Digest]*config.Bundle
	names   map[config.Digest]*state.Names
	sets    map[config.Digest][]config.Member
	crashed map[string]int
	last    time.Time // when the last of them began
	running []string  // work that began and did not end

	unread, refuse error // of reads, of writes
}

func (f *files) Load() (*state.Record, error) { return f.record.Clone(), f.unread }

func (f *files) Save(r *state.Record) error {
	if f.refuse != nil {
		return f.refuse
	}
	f.record, f.saved = *r.Clone(), f.saved+1
	return nil
}

func (f *files) Reopen() (*state.Record, error) { return f.record.Clone(), f.unread }

func (f *files) Append(e state.Entry) error {
	if f.refuse != nil {
		return f.refuse
	}
	f.lines = append(f.lines, e)
	return nil
}

func (f *files) History(int) ([]state.Entry, int, error) { return f.lines, 1, f.unread }

func (f *files) Bundle(d config.Digest) (*config.Bundle, error) {
	if b := f.bundles[d]; b != nil && f.unread == nil {
		return b, nil
	}
	if f.unread != nil {
		return nil, f.unread
	}
	return nil, state.ErrNoBundle
}

func (f *files) Members(d config.Digest) ([]config.Member, error) {
	if m := f.sets[d]; m != nil {
		return m, nil
	}
	return nil, state.ErrNoBundle
}

func (f *files) Names(d config.Digest) (*state.Names, error) {
	if n := f.names[d]; n != nil {
		return n, nil
	}
	return nil, state.ErrNoBundle
}

func (f *files) SaveNames(b *config.Bundle) error {
	if f.names == nil {
		f.names = map[config.Digest]*state.Names{}
	}
	f.names[b.Digest] = &state.Names{Name: b.Name, Rules: b.Rules}
	return nil
}

func (f *files) Crashed(work string) (int, time.Time) { return f.crashed[work], f.last }

func (f *files) Attempt(work string) func() {
	f.running = append(f.running, work)
	return func() { f.running = f.running[:len(f.running)-1] }
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// open is a ledger whose clock is moved by hand.
func open(t *testing.T, f *files) (l *Ledger, clock *time.Time) {
	t.Helper()
	now := noon
	return New(f,
		Options{Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }, Folder: "/var/lib/spillway"}), &now
}

func has(l *Ledger, code string) bool {
	_, is := l.Problem(code)
	return is
}
