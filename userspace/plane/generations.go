// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"fmt"
	"sync"

	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

// Rows are what the slots hold: told by name, and compared with what was built.
type Rows struct {
	*Options
	use   func() (Kernel, func(), error)
	links *Links

	images images
	drift  drift
}

// images are of the last generations, as they were built.
type images struct {
	mu       sync.Mutex
	byNumber map[uint32]*compile.Image
}

// drift is what the last comparison found.
type drift struct {
	mu   sync.Mutex
	last *api.Drift
}

// Learn reads the names of the bundles that the kernel has.
func (rw *Rows) Learn() {
	d, done, err := rw.use()
	if err != nil {
		return
	}
	defer done()
	if all, err := d.Generations(); err == nil {
		rw.Ledger.LearnResident(all)
	}
}

// Generations lists what the slots hold, with what the record knows of it.
func (rw *Rows) Generations(context.Context) (*api.GenerationList, error) {
	d, done, err := rw.use()
	if err != nil {
		return nil, err
	}
	defer done()
	all, err := rw.named(d)
	if err != nil {
		return nil, err
	}
	return &api.GenerationList{Envelope: api.NewEnvelope(), Generations: all}, nil
}

// named are the generations as status tells them.
func (rw *Rows) named(k Slots) ([]api.Generation, error) {
	all, err := k.Generations()
	if err != nil {
		return nil, err
	}
	out := make([]api.Generation, 0, len(all))
	for _, g := range all {
		out = append(out, view.Generation(g))
	}
	rw.Ledger.NameGenerations(out)
	return out, nil
}

// Rules lists those of the stable generation, and how often each decided.
func (rw *Rows) Rules(context.Context) (*api.RuleList, error) {
	d, done, err := rw.use()
	if err != nil {
		return nil, err
	}
	defer done()
	all, err := d.Generations()
	if err != nil {
		return nil, err
	}
	list := &api.RuleList{Envelope: api.NewEnvelope(), Rules: []api.Rule{}}
	g, ok := view.InSlot(all, d.Control().Stable)
	if !ok {
		return list, nil
	}
	list.Generation = g.Number
	hits, err := d.RuleHits(g.Slot)
	if err != nil {
		return nil, err
	}
	for index := range g.Rows["rules"] {
		i := uint16(index)
		rule := api.Rule{Index: i, ID: fmt.Sprintf("index_%d", i), Matches: hits[i]}
		if r, ok := rw.Ledger.RuleOf(g.Digest, i); ok {
			rule.ID, rule.Label, rule.Score, rule.Expires = r.ID, r.Label, r.Score, r.Expires
			rule.Verdict = string(r.Verdict)
		}
		list.Rules = append(list.Rules, rule)
	}
	return list, nil
}

// Drift is what the last comparison found; nil before it.
func (rw *Rows) Drift() *api.Drift {
	rw.drift.mu.Lock()
	defer rw.drift.mu.Unlock()
	return rw.drift.last
}
