// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
)

// StopClock puts the same programs behind the root program, but with the word `clock_ns` for a clock, which a test
// sets. It is for a lab (loader.Options): Renew brings the clock of the kernel back.
func (p *Plane) StopClock() error {
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
	if err := stopClock(spec); err != nil {
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
	programs := c.Maps[bpf.DataplaneMapPrograms]
	return errors.Join(
		programs.Put(uint32(bpf.ProgramPayload), c.Programs[bpf.DataplaneProgSpillwayPayload]),
		programs.Put(uint32(bpf.ProgramPair), c.Programs[bpf.DataplaneProgSpillwayPair]),
		next.Put(uint32(0), c.Programs[bpf.DataplaneProgSpillwayDataplane]))
}

// stopClock sets the settings of a lab, by the sizes of its maps: see size() in loader.
func stopClock(spec *ebpf.CollectionSpec) error {
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
	return settings.Set(&s)
}
