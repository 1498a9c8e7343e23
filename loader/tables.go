// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

// Tables are the maps of a generation that lies in no slot: filled, read back, and frozen.
type Tables struct {
	maps  map[string]*ebpf.Map
	pages map[pageKey]*bpf.PrefixPage // that were read
}

type pageKey struct {
	name string
	page uint32
}

// BuildTables builds the maps of an image as Build does, for slots of that capacity, in whatever process. It needs
// CAP_BPF.
func BuildTables(img *compile.Image, c config.Capacity) (*Tables, error) {
	if err := checkCapacity(img.Counts(), c); err != nil {
		return nil, err
	}
	spec, err := bpf.LoadDataplane()
	if err != nil {
		return nil, fmt.Errorf("read the embedded dataplane: %w", err)
	}
	t, inner := &Tables{maps: map[string]*ebpf.Map{}, pages: map[pageKey]*bpf.PrefixPage{}}, innerSpecs(spec)
	for name, table := range img.Tables(c) {
		if table.Len() == 0 {
			continue
		}
		m, err := buildTable(inner[name], name, table)
		if err != nil {
			t.Close()
			return nil, err
		}
		t.maps[name] = m
	}
	return t, nil
}

// Pin pins each map under its name in a folder, as Adopt looks for them.
func (t *Tables) Pin(folder string) error {
	for name, m := range t.maps {
		if err := m.Pin(filepath.Join(folder, name)); err != nil {
			return kernel.Explain("pin "+name, err)
		}
	}
	return nil
}

// Names reports whether a prefix of the generation has the address in it.
func (t *Tables) Names(a netip.Addr) (bool, error) {
	has, err := compile.HasPrefix(t, a)
	return has, kernel.Explain("look an address up", err)
}

// Page reads a page of prefixes once; nil where there is none.
func (t *Tables) Page(name string, page uint32) (*bpf.PrefixPage, error) {
	at := pageKey{name, page}
	if read, ok := t.pages[at]; ok {
		return read, nil
	}
	read := &bpf.PrefixPage{}
	has, err := t.Row(name, page, read)
	if err != nil {
		return nil, err
	}
	if !has {
		read = nil
	}
	t.pages[at] = read
	return read, nil
}

// Row reads an entry of a map of the generation; there is none where there is no map.
func (t *Tables) Row(name string, key, value any) (bool, error) {
	m := t.maps[name]
	if m == nil {
		return false, nil
	}
	err := m.Lookup(key, value)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Put puts the maps into a spare slot of an instance, which holds them beside whoever built them.
func (sl *Slots) Put(t *Tables) (uint8, error) {
	slot, err := sl.room()
	if err != nil {
		return 0, err
	}
	maps := map[string]*ebpf.Map{}
	defer closeMaps(maps)
	for name, m := range t.maps {
		if maps[name], err = m.Clone(); err != nil {
			return 0, kernel.Explain("hold "+name, err)
		}
	}
	return slot, sl.put(slot, generationMaps, maps)
}

// Close lets go of the maps; those that are pinned stay.
func (t *Tables) Close() { closeMaps(t.maps) }
