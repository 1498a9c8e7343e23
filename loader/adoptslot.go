// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

// ErrWrongTable: what another process built is not what a slot may hold, or not what that process said.
var ErrWrongTable = errors.New("a table is not what it should be")

// Tasted is a generation that another process built, froze and pinned: each map under its name, in a folder.
type Tasted struct {
	Folder string
	Number uint32
	Digest config.Digest
	Sums   compile.Sums // of the maps that it has
}

// Adopt puts the maps of a folder into a spare slot and returns the slot, as Build does with an image. It believes
// nothing of whoever made them: type, sizes, flags, and that nobody can write them any more are asked of the kernel,
// and the rows are summed up as they are read, in batches. ErrWrongTable says that one differs; nothing is put then.
// The pins in the folder stay.
func (sl *Slots) Adopt(t Tasted, beside ...uint8) (uint8, error) {
	maps, err := sl.openTasted(t)
	defer closeMaps(maps)
	if err != nil {
		return 0, err
	}
	slot, err := sl.room(beside...)
	if err != nil {
		return 0, err
	}
	return slot, errors.Join(sl.put(slot, generationMaps, maps), sl.pins.KeepOwner())
}

// openTasted opens and checks every map of a folder.
func (sl *Slots) openTasted(t Tasted) (map[string]*ebpf.Map, error) {
	maps, tables := map[string]*ebpf.Map{}, compile.Empty().Tables(sl.capacity)
	for _, name := range generationMaps {
		m, err := ebpf.LoadPinnedMap(filepath.Join(t.Folder, name), nil)
		if errors.Is(err, fs.ErrNotExist) && t.Sums[name] == "" {
			continue
		}
		if errors.Is(err, fs.ErrNotExist) {
			return maps, fmt.Errorf("%w: there is no %s", ErrWrongTable, name)
		}
		if err != nil {
			return maps, kernel.Explain("open what a taste built of "+name, err)
		}
		maps[name] = m
		if err := checkShape(sl.inner[name], name, m, tables[name]); err != nil {
			return maps, err
		}
		sum, err := tables[name].SumOf(&kernel.RowsIn{Map: m})
		if err != nil {
			return maps, kernel.Explain("sum up what a taste built of "+name, err)
		}
		if sum != t.Sums[name] {
			return maps, fmt.Errorf("%w: %s: want %s, got %s", ErrWrongTable, name, t.Sums[name], sum)
		}
	}
	return maps, sl.checkHead(t, maps)
}

// checkShape compares a map with what the programs were verified with, and with the host's capacity. One that fits its
// rows may be shorter: a rule node that is not there ends a chain, and a page that is not there has no prefixes.
func checkShape(spec *ebpf.MapSpec, name string, m *ebpf.Map, t compile.Sized) error {
	spec = spec.Copy()
	if spec.MaxEntries = uint32(t.Max); t.Fits {
		spec.MaxEntries = min(spec.MaxEntries, m.MaxEntries())
	}
	if err := spec.Compatible(m); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrWrongTable, name, err)
	}
	info, err := m.Info()
	if err != nil {
		return kernel.Explain("look at what a taste built of "+name, err)
	}
	if !info.Frozen() {
		return fmt.Errorf("%w: %s can be written", ErrWrongTable, name)
	}
	return nil
}

// checkHead compares what the generation says of itself with what was asked for, with the host's capacity, and with the
// maps that there are.
func (sl *Slots) checkHead(t Tasted, maps map[string]*ebpf.Map) error {
	head := maps[bpf.DataplaneMapGenerations]
	if head == nil {
		return fmt.Errorf("%w: there is no %s", ErrWrongTable, bpf.DataplaneMapGenerations)
	}
	var g bpf.Generation
	if err := head.Lookup(uint32(0), &g); err != nil {
		return kernel.Explain("read the head of what a taste built", err)
	}
	if g.Number != t.Number || g.Digest != t.Digest {
		return fmt.Errorf("%w: it is generation %d of %s, want %d of %s", ErrWrongTable, g.Number,
			config.Digest(g.Digest).Short(), t.Number, t.Digest.Short())
	}
	counts, there, least := compile.Counts(&g), map[string]bool{}, map[string]int{}
	for _, m := range compile.Maps() {
		there[m.Room] = there[m.Room] || maps[m.Name] != nil
		if maps[m.Name] != nil {
			least[m.Room] += m.Least(int(maps[m.Name].MaxEntries()))
		}
	}
	for room, has := range there {
		if has != (counts[room] > 0) || least[room] > counts[room] {
			return fmt.Errorf("%w: it says that it has %d %s", ErrWrongTable, counts[room], room)
		}
	}
	if err := checkCapacity(counts, sl.capacity); err != nil {
		return fmt.Errorf("%w: %w", ErrWrongTable, err)
	}
	return nil
}
