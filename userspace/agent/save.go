// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"github.com/spillway/spillway/userspace/state"
)

// tellUnread says that something of the state is on disk and cannot be read. What the kernel enforces goes on, nothing is
// written over it, and it is read again until it can be.
func (a *agent) tellUnread(err error) {
	a.setProblem(problemUnread, err.Error(), "repair the disk or the rights of "+a.opts.Host.Paths.State+"; nothing is written over what cannot be read, and traffic does not need it")
}

// saveAgain writes what the disk refused before, and reads what could not be read.
func (a *agent) saveAgain() {
	if a.now().Sub(a.lastSave).Abs() < saveInterval {
		return
	}
	a.lastSave = a.now()
	a.reopenStore()
	_ = a.toldBans(a.store.Bans().Flush())
	a.mu.Lock()
	unsaved := a.unsaved
	_, notKept := a.problems[problemKept]
	a.mu.Unlock()
	if notKept {
		a.keepHost()
	}
	if !unsaved {
		return
	}
	_ = a.update(func(*state.Record) {})
}

// reopenStore tries a state folder again that could not be used when the agent started. What is on it and nobody could
// read is taken over: last-known-good, most of all, for a kernel that holds nothing.
func (a *agent) reopenStore() {
	disk, err := a.store.Reopen()
	if err != nil {
		a.tellUnread(err)
		return
	}
	if disk == nil {
		return
	}
	a.log.Info("the state folder can be used again")
	a.clearProblem(problemUnread)
	a.mu.Lock()
	a.record.Absorb(disk)
	a.mu.Unlock()
	a.reopened.Store(true)
}
