// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spillway/spillway/userspace/ledger"
	"github.com/spillway/spillway/userspace/state"
)

// ErrHeld says that an agent holds the state but does not answer.
var ErrHeld = errors.New("an agent holds the state, but does not answer")

// book is the agent's ledger where there is no agent. It is opened when something is written: the kernel has it by
// then.
type book struct {
	store  *state.Store
	note   string // why the folder cannot be used
	now    func() time.Time
	ledger *ledger.Ledger
}

// lock takes the state for a change. The disk must not stand in the way: when it cannot be used, the change goes
// through, and the book's note says that it is not recorded.
func lock(dir string, now func() time.Time) (*book, error) {
	store, err := state.Open(dir, state.Options{Now: now})
	switch {
	case errors.Is(err, state.ErrLocked):
		return nil, fmt.Errorf("%w (%s)", ErrHeld, dir)
	case err != nil:
		return &book{store: state.Unusable(dir, err, state.Options{Now: now}), now: now, note: unwritten(err.Error())}, nil
	}
	return &book{store: store, now: now}, nil
}

func unwritten(why string) string { return "the history has no line of this: " + why }

func (b *book) close() { _ = b.store.Close() }

func (b *book) open() *ledger.Ledger {
	if b.ledger == nil {
		b.ledger = ledger.New(b.store, ledger.Options{Log: slog.New(slog.DiscardHandler), Now: b.now})
	}
	return b.ledger
}

// record writes the history line of a change. A full disk costs the line, not the change.
func (b *book) record(e state.Entry) (note string) {
	if e.User == "" {
		e.UID, e.User = caller()
	}
	e.Detail = append(e.Detail, "without an agent")
	b.open().Audit(e)
	if p, refused := b.ledger.Problem(ledger.ProblemHistory); refused {
		return unwritten(p.Message)
	}
	return ""
}

// remember changes the record as the agent would: what a reboot brings back must follow what was done without one.
func (b *book) remember(bake time.Duration, edit func(*state.Record)) (note string) {
	const forgets = "a reboot forgets it: "
	if p, unread := b.open().Problem(ledger.ProblemUnread); unread {
		return forgets + p.Message
	}
	left, drop := b.store.Notes() // beside an agent that did not live to take them up
	err := b.ledger.Update(func(r *state.Record) {
		for _, back := range left {
			r.GoBack(back, bake)
		}
		edit(r)
	})
	if err != nil {
		return forgets + err.Error()
	}
	for _, back := range left {
		_ = b.record(back.Entry(back.To.Name()))
	}
	drop()
	return ""
}
