// SPDX-License-Identifier: Apache-2.0

package release

import (
	"maps"
	"sync"
)

// tally counts what became of changes.
type tally struct {
	mu        sync.Mutex
	applies   map[string]uint64 // by outcome
	rollbacks uint64
}

func (t *tally) applied(outcome string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.applies[outcome]++
}

func (mg *Manager) countRollback() {
	mg.tally.mu.Lock()
	defer mg.tally.mu.Unlock()
	mg.tally.rollbacks++
}

// Counts returns how many applies had which outcome, and how many rollbacks there were.
func (mg *Manager) Counts() (applies map[string]uint64, rollbacks uint64) {
	mg.tally.mu.Lock()
	defer mg.tally.mu.Unlock()
	return maps.Clone(mg.tally.applies), mg.tally.rollbacks
}
