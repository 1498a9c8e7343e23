// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
)

// place is one entry of a map of maps.
type place struct {
	slot uint8
	name string
}

func (p place) String() string { return fmt.Sprintf("slot %d of %s", p.slot, p.name) }

// held are the handles of inner maps that this process built or opened. A pin that somebody removes is made again from
// them.
type held struct {
	mu   sync.Mutex
	maps map[place]heldMap
}

type heldMap struct {
	m  *ebpf.Map
	id uint32
}

// put takes m over.
func (h *held) put(at place, m *ebpf.Map) error {
	id, err := kernel.MapID(m)
	if err != nil {
		return err
	}
	h.drop(at)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.maps == nil {
		h.maps = map[place]heldMap{}
	}
	h.maps[at] = heldMap{m, uint32(id)}
	return nil
}

func (h *held) drop(at place) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if old, ok := h.maps[at]; ok {
		_ = old.m.Close()
		delete(h.maps, at)
	}
}

// clone returns a handle of the map with that id, nil when it is not held.
func (h *held) clone(at place, id uint32) (*ebpf.Map, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if found, ok := h.maps[at]; ok && found.id == id {
		return found.m.Clone()
	}
	return nil, nil
}

func (h *held) has(at place, id uint32) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return id != 0 && h.maps[at].id == id
}

func (h *held) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for _, m := range h.maps {
		errs = append(errs, m.m.Close())
	}
	h.maps = nil
	return errors.Join(errs...)
}

// roles are the slots that the words name, each with the maps that belong to it.
func (ws *Words) roles() []role {
	var all []role
	c := ws.Control()
	for _, r := range []role{
		{RoleStable, c.Stable, generationMaps},
		{RoleCandidate, c.Candidate, generationMaps},
		{RolePrevious, c.Previous, generationMaps},
		{RoleBeside, ws.beside(), generationMaps},
		{roleHost, c.Host, hostMaps},
	} {
		if r.slot != bpf.SlotEmpty {
			all = append(all, r)
		}
	}
	return all
}

type role struct {
	name string
	slot uint8
	maps []string
}

// holdSlots opens what the roles name, so that a pin which is removed later can be made again. What cannot be opened is
// for VerifyWiring to tell.
func (sl *Slots) holdSlots() {
	for _, r := range sl.words.roles() {
		for _, name := range r.maps {
			at := place{r.slot, name}
			if m, err := sl.innerMap(name, r.slot); err == nil && m != nil {
				if err := sl.held.put(at, m); err != nil {
					_ = m.Close()
				}
			}
		}
	}
}

// innerMap opens what a slot of an outer map holds; nil when it is empty. The outer map says the id, and the pin is
// opened by its path: ErrPinDiffers when that is not the map which packets read.
func (sl *Slots) innerMap(name string, slot uint8) (*ebpf.Map, error) {
	at := place{slot, name}
	id, err := kernel.EntryOf(sl.maps[name], uint32(slot))
	if err != nil {
		return nil, kernel.Explain("look into "+at.String(), err)
	}
	if id == 0 {
		return nil, nil
	}
	m, err := sl.held.clone(at, id)
	if err != nil {
		return nil, kernel.Explain("open "+at.String(), err)
	}
	if m != nil {
		return m, nil
	}
	return sl.openSlotPin(at, id)
}

// openSlotPin opens the pin of a place, which must have that id.
func (sl *Slots) openSlotPin(at place, id uint32) (*ebpf.Map, error) {
	if sl.pins.Path == "" {
		return nil, fmt.Errorf("%s: %w: nothing of it is held", at, ErrPinDiffers)
	}
	m, err := ebpf.LoadPinnedMap(sl.pins.SlotMap(at.slot, at.name), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: packets read map %d, and there is no pin", at, ErrPinDiffers, id)
	}
	if err != nil {
		return nil, kernel.Explain("open the pin of "+at.String(), err)
	}
	got, err := kernel.MapID(m)
	if err == nil && uint32(got) != id {
		err = fmt.Errorf("%s: %w: packets read map %d, and pinned is map %d", at, ErrPinDiffers, id, got)
	}
	if err == nil {
		err = kernel.CheckMap(sl.inner[at.name], m)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// pinSlot pins a map that is about to be put into its slot.
func (sl *Slots) pinSlot(at place, m *ebpf.Map) error {
	if sl.pins.Path == "" {
		return nil
	}
	if err := os.MkdirAll(sl.pins.Slot(at.slot), 0o700); err != nil {
		return kernel.Explain("make the pin folder of a slot", err)
	}
	clone := func() (pinned, error) { return m.Clone() }
	return part{at.String(), clone}.pin(sl.pins.SlotMap(at.slot, at.name))
}

// unpinSlot lets go of what a slot had. No role names it.
func (sl *Slots) unpinSlot(slot uint8, names []string) error {
	for _, name := range names {
		sl.held.drop(place{slot, name})
		if sl.pins.Path == "" {
			continue
		}
		if err := pins.Remove(sl.pins.SlotMap(slot, name)); err != nil {
			return err
		}
	}
	return nil
}
