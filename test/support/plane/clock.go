// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
)

// StopClock puts the same programs behind the root program, but with the word `clock_ns` for a clock, which a test
// sets. It is for a lab (loader.Options): Renew brings the clock of the kernel back. adjust changes their settings.
func (p *Plane) StopClock(adjust ...func(*bpf.Settings)) error {
	spec, err := bpf.LoadDataplane()
	if err != nil {
		return fmt.Errorf("read the embedded dataplane: %w", err)
	}
	maps := map[string]*ebpf.Map{}
	for _, name := range Shared(spec.Maps) {
		if maps[name], err = p.Map(name); err != nil {
			return err
		}
		spec.Maps[name].MaxEntries = maps[name].MaxEntries()
	}
	if err := stopClock(spec, adjust); err != nil {
		return fmt.Errorf("set the dataplane's settings: %w", err)
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: maps})
	if err != nil {
		return fmt.Errorf("load a dataplane whose clock stands still: %w", err)
	}
	p.stopped = c
	next, err := p.Map(bpf.RootMapRootNext)
	if err != nil {
		return err
	}
	return PutBehind(c, next)
}

// SkipFront makes the root program of a plane whose clock stands still call the dataplane, without the front, and
// TakeFront the front again.
func (p *Plane) SkipFront() error { return p.begin(bpf.DataplaneProgSpillwayDataplane) }

// TakeFront: see SkipFront.
func (p *Plane) TakeFront() error { return p.begin(bpf.DataplaneProgSpillwayFront) }

func (p *Plane) begin(program string) error {
	next, err := p.Map(bpf.RootMapRootNext)
	if err != nil {
		return err
	}
	return next.Put(uint32(0), p.stopped.Programs[program])
}

// FrontAlone takes the dataplane away from behind the front of a plane whose clock stands still, or puts it there
// again: without it, what the front does not end passes uncounted.
func (p *Plane) FrontAlone(alone bool) error {
	programs, dataplane := p.stopped.Maps[bpf.DataplaneMapPrograms], uint32(bpf.ProgramDataplane)
	if alone {
		return programs.Delete(dataplane)
	}
	return programs.Put(dataplane, p.stopped.Programs[bpf.DataplaneProgSpillwayDataplane])
}

// PutBehind puts the programs of a collection behind the root program whose entry is in next, and behind each other.
// One that the collection has not stays missing.
func PutBehind(c *ebpf.Collection, next *ebpf.Map) error {
	for entry, name := range map[uint32]string{
		bpf.ProgramDataplane: bpf.DataplaneProgSpillwayDataplane,
		bpf.ProgramPayload:   bpf.DataplaneProgSpillwayPayload,
		bpf.ProgramPair:      bpf.DataplaneProgSpillwayPair,
	} {
		if program := c.Programs[name]; program != nil {
			if err := c.Maps[bpf.DataplaneMapPrograms].Put(entry, program); err != nil {
				return fmt.Errorf("put %s in its place: %w", name, err)
			}
		}
	}
	return next.Put(uint32(0), c.Programs[bpf.DataplaneProgSpillwayFront])
}

// stopClock sets the settings of a lab, by the sizes of its maps: see size() in loader.
func stopClock(spec *ebpf.CollectionSpec, adjust []func(*bpf.Settings)) error {
	var s bpf.Settings
	settings := spec.Variables[bpf.DataplaneVarSettings]
	if err := settings.Get(&s); err != nil {
		return err
	}
	s.SynMask = spec.Maps[bpf.DataplaneMapSyns].MaxEntries - 1
	s.HelloMask = spec.Maps[bpf.DataplaneMapHellos].MaxEntries - 1
	s.ShapeBudgetMask = spec.Maps[bpf.DataplaneMapShapeBudgets].MaxEntries - 1
	s.RulesMax = spec.Maps[bpf.DataplaneMapRuleHits].MaxEntries / bpf.Slots
	s.IsLab, s.IsClocked = 1, 1
	for _, change := range adjust {
		change(&s)
	}
	return settings.Set(&s)
}
