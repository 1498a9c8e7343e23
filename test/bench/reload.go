// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	support "github.com/spillway/spillway/test/support/plane"
)

// computeAlways puts the same programs behind the plane's root program, but with budgets for new shapes that nobody
// reaches, and with no room to remember one: every hello is a new shape there.
func (r *rig) computeAlways(p *plane) error {
	c, err := r.reload(p, true, bpf.DataplaneProgSpillwayFront, bpf.DataplaneProgSpillwayDataplane,
		bpf.DataplaneProgSpillwayPayload)
	if err != nil {
		return err
	}
	next, err := p.Map(bpf.RootMapRootNext)
	if err != nil {
		return err
	}
	return support.PutBehind(c, next)
}

// reload loads programs of the plane once more around its maps.
func (r *rig) reload(p *plane, always bool, programs ...string) (_ *ebpf.Collection, err error) {
	spec, err := bpf.LoadDataplane()
	if err != nil {
		return nil, fmt.Errorf("read the embedded dataplane: %w", err)
	}
	maps := map[string]*ebpf.Map{}
	for name := range spec.Programs {
		if !slices.Contains(programs, name) {
			delete(spec.Programs, name)
		}
	}
	for _, name := range support.Shared(spec.Maps) {
		if always && (name == bpf.DataplaneMapShapes || name == bpf.DataplaneMapShapesListed) {
			spec.Maps[name].Type, spec.Maps[name].MaxEntries = ebpf.Hash, 1
			continue
		}
		if maps[name], err = p.Map(name); err != nil {
			return nil, err
		}
		spec.Maps[name].MaxEntries = maps[name].MaxEntries()
	}
	if err := resize(spec, maps, always); err != nil {
		return nil, err
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: maps})
	if err != nil {
		return nil, fmt.Errorf("load the dataplane with other settings: %w", err)
	}
	r.closers = append(r.closers, func() error { c.Close(); return nil })
	if !always {
		return c, nil
	}
	// Full from the first on: what is computed is forgotten.
	return c, errors.Join(c.Maps[bpf.DataplaneMapShapes].Put(bpf.ShapeKey{}, bpf.Shape{}),
		c.Maps[bpf.DataplaneMapShapesListed].Put(bpf.ShapeKey{}, bpf.Shape{}))
}

// resize tells the programs how large their maps are, and lifts the budgets.
func resize(spec *ebpf.CollectionSpec, maps map[string]*ebpf.Map, always bool) error {
	var s bpf.Settings
	settings := spec.Variables[bpf.DataplaneVarSettings]
	if err := settings.Get(&s); err != nil {
		return fmt.Errorf("read the settings: %w", err)
	}
	s.SynMask = maps[bpf.DataplaneMapSyns].MaxEntries() - 1
	s.HelloMask = maps[bpf.DataplaneMapHellos].MaxEntries() - 1
	s.ShapeBudgetMask = maps[bpf.DataplaneMapShapeBudgets].MaxEntries() - 1
	s.RulesMax = maps[bpf.DataplaneMapRuleHits].MaxEntries() / bpf.Slots
	if always {
		s.ShapesPerSecond, s.ShapesPerPrefix, s.UnprovenPerSecond = 1<<31, 1<<31, 1<<31
	}
	if err := settings.Set(&s); err != nil {
		return fmt.Errorf("set the settings: %w", err)
	}
	return nil
}
