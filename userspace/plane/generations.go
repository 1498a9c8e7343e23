// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"fmt"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/view"
)

// Learn reads the names of the bundles that the kernel has.
func (pl *Plane) Learn() {
	d, done, err := pl.Use()
	if err != nil {
		return
	}
	defer done()
	if all, err := d.Generations(); err == nil {
		pl.Ledger.LearnResident(all)
	}
}

// Generations lists what the slots hold, with what the record knows of it.
func (pl *Plane) Generations(context.Context) (*api.GenerationList, error) {
	d, done, err := pl.Use()
	if err != nil {
		return nil, err
	}
	defer done()
	all, err := pl.named(d)
	if err != nil {
		return nil, err
	}
	return &api.GenerationList{Envelope: api.NewEnvelope(), Generations: all}, nil
}

// named are the generations as status tells them.
func (pl *Plane) named(k view.Kernel) ([]api.Generation, error) {
	all, err := k.Generations()
	if err != nil {
		return nil, err
	}
	out := make([]api.Generation, 0, len(all))
	for _, g := range all {
		out = append(out, view.Generation(g))
	}
	pl.Ledger.NameGenerations(out)
	return out, nil
}

// Rules lists those of the stable generation, and how often each decided.
func (pl *Plane) Rules(context.Context) (*api.RuleList, error) {
	d, done, err := pl.Use()
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
		if r, ok := pl.Ledger.RuleOf(g.Digest, i); ok {
			rule.ID, rule.Label, rule.Score, rule.Expires = r.ID, r.Label, r.Score, r.Expires
		}
		list.Rules = append(list.Rules, rule)
	}
	return list, nil
}
