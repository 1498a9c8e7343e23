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

func (t *tally) rolledBack() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rollbacks++
}

func (t *tally) counts() (applies map[string]uint64, rollbacks uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.applies), t.rollbacks
}
