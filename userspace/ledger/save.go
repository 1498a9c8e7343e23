// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"github.com/spillway/spillway/userspace/state"
)

// tellUnread says that something of the state is on disk and cannot be read. What the kernel enforces goes on, nothing
// is written over it, and it is read again until it can be.
func (l *Ledger) tellUnread(err error) {
	l.SetProblem(ProblemUnread, err.Error(), "repair the disk or the rights of "+l.folder+
		"; nothing is written over what cannot be read, and traffic does not need it")
}

// SaveAgain writes what the disk refused before.
func (l *Ledger) SaveAgain() {
	if l.Unsaved() {
		_ = l.Update(func(*state.Record) {})
	}
}

// Reopen tries a state folder again that could not be used when the agent started. What is on it and nobody could
// read is taken over: last-known-good, most of all, for a kernel that holds nothing. It reports whether that happened.
func (l *Ledger) Reopen() bool {
	disk, err := l.store.Reopen()
	if err != nil {
		l.tellUnread(err)
		return false
	}
	if disk == nil {
		return false
	}
	l.log.Info("the state folder can be used again")
	l.ClearProblem(ProblemUnread)
	l.record.mu.Lock()
	defer l.record.mu.Unlock()
	l.record.last.Absorb(disk)
	return true
}
