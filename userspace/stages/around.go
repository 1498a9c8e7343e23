// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"slices"
	"sync"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/rollout"
)

// around is what the rooms below may ask at any time, also while a look runs that waits for them: it is a copy.
type around struct {
	built func() []uint32 // generations that a taste left in their slots

	mu    sync.Mutex
	owned []uint32
	kept  []uint32
	needs []config.Digest
	seen  rollout.Traffic
}

// tellAround makes the copy, before anything is carried out that those rooms would judge by it.
func (st *Stages) tellAround() {
	s := &st.memory.State
	var owned, kept []uint32
	for _, r := range []rollout.Run{s.Main, s.Fast} {
		if r.Number != 0 {
			owned, kept = append(owned, r.Number), append(kept, r.Number, r.On)
		}
	}
	for _, n := range st.memory.Trying {
		if n != 0 {
			owned, kept = append(owned, n), append(kept, n)
		}
	}
	for _, c := range st.memory.changes() {
		if c.Stood != nil {
			kept = append(append(kept, c.Stood.Under), c.Stood.Numbers...)
		}
	}
	for _, u := range s.Undo {
		owned, kept = append(owned, u.Number), append(kept, u.Number, u.To)
	}
	var needs []config.Digest
	for _, s := range st.memory.Stories {
		if !s.Order.Digest.IsZero() {
			needs = append(needs, s.Order.Digest)
		}
	}
	st.around.mu.Lock()
	defer st.around.mu.Unlock()
	st.around.owned, st.around.needs, st.around.seen = owned, needs, s.Traffic
	st.around.kept = slices.DeleteFunc(kept, func(n uint32) bool { return n == 0 })
}

func (ar *around) keeps() []uint32 {
	ar.mu.Lock()
	defer ar.mu.Unlock()
	return slices.Clone(ar.kept)
}

// Owns reports whether a generation is a rollout's.
func (ar *around) Owns(number uint32) bool {
	ar.mu.Lock()
	defer ar.mu.Unlock()
	return slices.Contains(ar.owned, number)
}

// Needs are the bundles of what waits, runs or is held.
func (ar *around) Needs() []config.Digest {
	ar.mu.Lock()
	defer ar.mu.Unlock()
	return slices.Clone(ar.needs)
}

// Traffic is what the last rollout counted here; zero: none did.
func (ar *around) Traffic() rollout.Traffic {
	ar.mu.Lock()
	defer ar.mu.Unlock()
	return ar.seen
}

// Keeps are the generations that must stay in their slots.
func (ar *around) Keeps() []uint32 { return append(ar.keeps(), ar.built()...) }

// Around is what the releases ask of what rolls out.
func (st *Stages) Around() release.Stage { return &st.around }
