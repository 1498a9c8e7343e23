// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"github.com/spillway/spillway/userspace/state"
)

// saveAgain writes a record that the disk refused before.
func (a *agent) saveAgain() {
	a.mu.Lock()
	due := a.unsaved && a.now().Sub(a.lastSave).Abs() >= saveInterval
	a.mu.Unlock()
	if !due {
		return
	}
	a.lastSave = a.now()
	a.reopenStore()
	_ = a.update(func(*state.Record) {})
}

// reopenStore tries a state folder again that could not be used when the agent started. What is on it and nobody could
// read is taken over: last-known-good, most of all, for a kernel that holds nothing.
func (a *agent) reopenStore() {
	open, err := a.store.Reopen()
	if err != nil || !open {
		return
	}
	a.log.Info("the state folder can be used again")
	disk := a.store.Load()
	a.mu.Lock()
	a.record.Absorb(disk)
	a.mu.Unlock()
	a.unadopted = true
	a.adoptRetry.reset()
}
