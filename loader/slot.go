// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

// Slots are the places of generations and host files.
type Slots struct {
	*site
	words      *Words
	counters   *CounterTable
	held       held
	blockCache blockingCache
}

// The maps of a slot. The first of each says whether the slot is filled: it is put last and taken away first.
var (
	generationMaps = compile.GenerationMaps()
	hostMaps       = compile.HostMaps()
)

// Build writes img into a spare slot and returns the slot. It publishes nothing: until the control word names the slot,
// no packet looks there. Any failure, and any difference between what was written and what is read back, leaves the
// published generations as they are.
//
// Slots that were built and are not published yet are spare to it: more names those that must stay, but for the one of
// Comparisons.SetBeside, which stays by itself.
func (sl *Slots) Build(img *compile.Image, more ...uint8) (uint8, error) {
	if err := checkCapacity(img.Counts(), sl.capacity); err != nil {
		return 0, err
	}
	slot, err := sl.room(more...)
	if err != nil {
		return 0, err
	}
	return slot, errors.Join(sl.fill(slot, generationMaps, img.Tables(sl.capacity)), sl.pins.KeepOwner())
}

// room returns a spare slot for a generation, with nothing counted.
func (sl *Slots) room(more ...uint8) (uint8, error) {
	c := sl.words.Control()
	slot, err := sl.spare(generationMaps, generationSlots,
		append(more, c.Stable, c.Candidate, c.Previous, sl.words.beside())...)
	if err != nil {
		return 0, err
	}
	if err := sl.counters.retire(slot); err != nil {
		return 0, err
	}
	sl.counters.zeroRuleHits(slot)
	return slot, nil
}

// BuildHost does the same for a host file.
func (sl *Slots) BuildHost(img *compile.HostImage) (uint8, error) {
	if n := img.Protected(); n > sl.capacity.Allowlist+1 { // IPv4 may be taken out again by one more row
		return 0, fmt.Errorf("allowlist: %d rows: %w: capacity %d", n, ErrCapacity, sl.capacity.Allowlist)
	}
	slot, err := sl.spare(hostMaps, hostSlots, sl.words.Control().Host)
	if err != nil {
		return 0, err
	}
	current, err := sl.Host()
	if err != nil {
		return 0, err
	}
	if err := sl.counters.forgetServices(img, current); err != nil {
		return 0, err
	}
	return slot, errors.Join(sl.fill(slot, hostMaps, img.Tables(sl.capacity.Allowlist+1)), sl.pins.KeepOwner())
}

// checkCapacity is the second of three refusals: the validator's came before, the kernel's E2BIG comes after.
func checkCapacity(counts config.Counts, c config.Capacity) error {
	for _, room := range config.Rooms() {
		if n, most := counts[room.Field], c.Room(room.Field); n > most {
			return fmt.Errorf("%s: %d rows: %w: capacity %d", room.What, n, ErrCapacity, most)
		}
	}
	return nil
}

// spare returns the lowest slot that no role names, without its marker; more than most are refused, for nobody planned
// their memory. Taking that away waits for an RCU grace period, so no
// packet that still reads the slot under an older control word can see what is filled in next. (Each change of a map
// of maps waits, 10 to 30 ms: so there is one a map, and no more.)
func (sl *Slots) spare(names []string, most uint8, used ...uint8) (uint8, error) {
	for slot := uint8(1); slot <= most; slot++ {
		if !slices.Contains(used, slot) {
			return slot, errors.Join(sl.clear(slot, names[:1]), sl.unpinSlot(slot, names))
		}
	}
	return 0, fmt.Errorf("a slot of %s: %w: all %d are in use", names[0], ErrCapacity, most)
}

func (sl *Slots) clear(slot uint8, names []string) error {
	for _, name := range names {
		err := sl.maps[name].Delete(uint32(slot))
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return kernel.Explain(fmt.Sprintf("empty slot %d of %s", slot, name), err)
		}
	}
	return nil
}

// fill builds every table aside, and puts them into the slot only when all of them are complete and frozen.
func (sl *Slots) fill(slot uint8, names []string, tables map[string]compile.Sized) error {
	built := map[string]*ebpf.Map{}
	defer closeMaps(built)
	for _, name := range names {
		t, ok := tables[name]
		if !ok || t.Len() == 0 {
			continue
		}
		m, err := sl.buildTable(name, t)
		if err != nil {
			return sl.emptied(slot, names, err)
		}
		built[name] = m
	}
	return sl.put(slot, names, built)
}

// put puts tables that are complete and frozen into a spare slot, and takes each out of built. Each is pinned before it
// is put, and the marker is the last: a slot that has one has all its pins, whenever the process is killed.
func (sl *Slots) put(slot uint8, names []string, built map[string]*ebpf.Map) (err error) {
	defer func() {
		if err != nil {
			err = sl.emptied(slot, names, err)
		}
	}()
	for i := len(names) - 1; i >= 0; i-- { // the marker last
		m, ok := built[names[i]]
		if !ok {
			if err := sl.clear(slot, names[i:i+1]); err != nil {
				return err
			}
			continue
		}
		at := place{slot, names[i]}
		if err := sl.pinSlot(at, m); err != nil {
			return err
		}
		if err := sl.maps[names[i]].Put(uint32(slot), uint32(m.FD())); err != nil {
			return kernel.Explain(fmt.Sprintf("put %s into slot %d", names[i], slot), err)
		}
		if err := sl.held.put(at, m); err != nil {
			return err
		}
		delete(built, names[i])
	}
	return nil
}

// emptied takes away what a slot had when err came.
func (sl *Slots) emptied(slot uint8, names []string, err error) error {
	return errors.Join(err, sl.clear(slot, names), sl.unpinSlot(slot, names))
}

func closeMaps(maps map[string]*ebpf.Map) {
	for _, m := range maps {
		_ = m.Close() // the slot holds its own reference
	}
}

func (sl *Slots) buildTable(name string, t compile.Sized) (*ebpf.Map, error) {
	return buildTable(sl.inner[name], name, t)
}

// buildTable makes a map, fills it, reads it back and freezes it.
func buildTable(inner *ebpf.MapSpec, name string, t compile.Sized) (*ebpf.Map, error) {
	spec := inner.Copy()
	spec.MaxEntries = uint32(t.Size())
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, kernel.Explain("create "+name, err)
	}
	if err := t.Write(kernel.Into(m)); err != nil {
		_ = m.Close()
		return nil, kernel.Explain("fill "+name, err)
	}
	if drift, err := t.Compare(&kernel.RowsIn{Map: m}); err != nil || len(drift) > 0 {
		_ = m.Close()
		if err == nil {
			err = fmt.Errorf("%w: %s: want %s, got %s", ErrReadBack, drift[0].Where, drift[0].Want, drift[0].Got)
		}
		return nil, fmt.Errorf("read back %s: %w", name, err)
	}
	if err := m.Freeze(); err != nil {
		_ = m.Close()
		return nil, kernel.Explain("freeze "+name, err)
	}
	return m, nil
}

// lookupInner reads the one entry of a small map of a slot. ErrNotPinned when the slot is empty.
func (sl *Slots) lookupInner(name string, slot uint8, value any) error {
	m, err := sl.innerMap(name, slot)
	if err != nil {
		return err
	}
	if m == nil {
		return fmt.Errorf("slot %d of %s: %w", slot, name, kernel.ErrNotPinned)
	}
	defer func() { _ = m.Close() }()
	if err := m.Lookup(uint32(0), value); err != nil {
		return kernel.Explain(fmt.Sprintf("read slot %d of %s", slot, name), err)
	}
	return nil
}
