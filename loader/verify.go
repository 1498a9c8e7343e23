// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
)

// VerifyGeneration compares a slot, row by row, with what it should hold.
func (sl *Slots) VerifyGeneration(slot uint8, img *compile.Image) ([]compile.Drift, error) {
	return sl.verifySlot(slot, generationMaps, img.Tables(sl.capacity))
}

// VerifyHost compares the published host file with what it should be.
func (sl *Slots) VerifyHost(img *compile.HostImage) ([]compile.Drift, error) {
	return sl.verifySlot(sl.words.Control().Host, hostMaps, img.Tables(sl.capacity.Allowlist+1))
}

func (sl *Slots) verifySlot(slot uint8, names []string, tables map[string]compile.Sized) ([]compile.Drift, error) {
	var drifts []compile.Drift
	for _, name := range names {
		found, err := sl.verifyTable(slot, name, tables[name])
		if err != nil {
			return nil, fmt.Errorf("verify %s: %w", name, err)
		}
		drifts = append(drifts, found...)
	}
	return drifts, nil
}

func (sl *Slots) verifyTable(slot uint8, name string, t compile.Sized) ([]compile.Drift, error) {
	m, err := sl.innerMap(name, slot)
	if errors.Is(err, ErrPinDiffers) {
		return []compile.Drift{drifted(place{slot, name}.String(), "a pin of what packets read", err.Error())}, nil
	}
	if err != nil {
		return nil, err
	}
	if m == nil {
		if t.Len() == 0 {
			return nil, nil
		}
		return []compile.Drift{drifted(place{slot, name}.String(), "a map", "nothing")}, nil
	}
	defer func() { _ = m.Close() }()
	drifts, err := t.Compare(&kernel.RowsIn{Map: m})
	if err != nil {
		return nil, err
	}
	info, err := m.Info()
	if err != nil {
		return nil, err
	}
	if !info.Frozen() {
		drifts = append(drifts, drifted(place{slot, name}.String(), "frozen", "writable"))
	}
	return drifts, nil
}

// VerifyDeciding checks what decides at this moment: the programs behind the root program, and a filled slot for
// each role that the control word names. It is cheap enough for each second: some ten system calls. It leaves to
// VerifyWiring what sits on the interfaces, what nobody does by mistake (another map in a slot), and what matters
// once this process ends (a pin), but for one: the kernel empties the array behind the front with its last pin, and
// then most of what it decides would pass.
func (d *Dataplane) VerifyDeciding() ([]compile.Drift, error) {
	drifts, err := d.verifyPrograms()
	if err != nil {
		return nil, err
	}
	if d.pins.Path != "" && d.pair != nil {
		at := filepath.Join(d.pins.Pair(d.pair.id), pins.PinArray)
		if _, err := os.Lstat(at); errors.Is(err, fs.ErrNotExist) {
			drifts = append(drifts, drifted(compile.WherePins, "program "+pins.PinArray, compile.GotNothing))
		}
	}
	for _, r := range d.Words.roles() {
		id, err := kernel.EntryOf(d.maps[r.maps[0]], uint32(r.slot))
		if err != nil {
			return nil, kernel.Explain("look into "+place{r.slot, r.maps[0]}.String(), err)
		}
		if id == 0 {
			drifts = append(drifts, r.empty())
		}
	}
	return drifts, nil
}

// VerifyWiring checks what makes the maps count at all: a dataplane behind the root program, programs that read the
// pinned maps, links that hold, slots that exist, pins of all of it. It is cheap enough for a watchdog.
func (d *Dataplane) VerifyWiring() ([]compile.Drift, error) {
	var drifts []compile.Drift
	behind, err := d.verifyPrograms()
	if err != nil {
		return nil, err
	}
	drifts = append(drifts, behind...)
	missing, err := d.missingPins()
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		drifts = append(drifts, drifted(compile.WherePins, "all of them below "+d.pins.Base(),
			"without "+strings.Join(missing, ", ")))
	}
	attachments, err := d.Attachments()
	if err != nil {
		return nil, err
	}
	root, err := d.RootID()
	if err != nil {
		return nil, err
	}
	for _, a := range attachments {
		switch {
		case a.State != StateAttached:
			drifts = append(drifts, drifted(compile.WhereInterface+a.Interface, StateAttached, a.State))
		case root != 0 && a.ProgramID != root:
			drifts = append(drifts, drifted(compile.WhereInterface+a.Interface, fmt.Sprintf("root program %d", root),
				fmt.Sprintf("program %d", a.ProgramID)))
		}
	}
	empty, err := d.verifySlots()
	return append(drifts, empty...), err
}

// verifyPrograms compares, as numbers, what the root program calls with the pair that is held or pinned here.
func (ps *Programs) verifyPrograms() ([]compile.Drift, error) {
	id, err := ps.root.Next()
	if err != nil {
		return nil, err // not being able to look is no drift
	}
	if id == 0 {
		return []compile.Drift{drifted(compile.WherePrograms, "the dataplane", "nothing: what it would see passes")}, nil
	}
	p := ps.pair
	if p == nil {
		if p, err = openPair(ps.pins, id); err != nil {
			return nil, err
		}
		if p == nil {
			return []compile.Drift{drifted(compile.WherePrograms, "a dataplane that is pinned below "+ps.pins.Pairs(),
				fmt.Sprintf("program %d, which is not", id))}, nil
		}
		defer func() { _ = p.close() }()
	}
	if p.id != id {
		return []compile.Drift{
				drifted(compile.WherePrograms, fmt.Sprintf("the front, program %d", p.id), fmt.Sprintf("program %d", id))},
			nil
	}
	for i, next := range behindFront {
		behind, err := kernel.EntryOf(p.array, next.entry)
		if err != nil {
			return nil, kernel.Explain("look behind the dataplane", err)
		}
		if behind == 0 && next.entry == bpf.ProgramDataplane { // and then what the front would drop passes, too
			return []compile.Drift{drifted(compile.WherePrograms, compile.WantDataplane, compile.GotNothing)}, nil
		}
		if behind != p.ids[i] {
			got := next.nothing
			if behind != 0 {
				got = fmt.Sprintf("program %d", behind)
			}
			return []compile.Drift{drifted(compile.WherePrograms, fmt.Sprintf("%s, %d", next.what, p.ids[i]), got)}, nil
		}
	}
	if drift, err := p.tracking.verify(p); len(drift) > 0 || err != nil {
		return drift, err
	}
	return ps.verifyMapsOf(p)
}

// verifyMapsOf looks whether a dataplane reads the pinned maps.
func (ps *Programs) verifyMapsOf(p *pair) ([]compile.Drift, error) {
	if p.reads.Load() {
		return nil, nil
	}
	used, err := kernel.MapIDs(p.front)
	if err != nil {
		return nil, err
	}
	for _, m := range []struct {
		name string
		m    *ebpf.Map
	}{
		{"words of the root", ps.root.WordsMap()},
		{"PROG_ARRAY", p.array},
		{bpf.DataplaneMapWords, ps.maps[bpf.DataplaneMapWords]},
		{bpf.DataplaneMapGenerations, ps.maps[bpf.DataplaneMapGenerations]},
		{bpf.DataplaneMapFlows, ps.maps[bpf.DataplaneMapFlows]},
	} {
		id, err := kernel.MapID(m.m)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(used, id) {
			return []compile.Drift{
				drifted(compile.WherePrograms, "a program that reads the pinned "+m.name, "one that reads another")}, nil
		}
	}
	p.reads.Store(true)
	return nil, nil
}

// verifySlots looks whether every role's slot is filled, and whether the pins are what packets read there. What is held
// and has no pin is for missingPins to tell.
func (sl *Slots) verifySlots() ([]compile.Drift, error) {
	var drifts []compile.Drift
	for _, r := range sl.words.roles() {
		for i, name := range r.maps {
			at := place{r.slot, name}
			id, err := kernel.EntryOf(sl.maps[name], uint32(r.slot))
			switch {
			case err != nil:
				return nil, kernel.Explain("look into "+at.String(), err)
			case id == 0 && i == 0:
				drifts = append(drifts, r.empty())
			case id != 0:
				drift, err := sl.verifyPin(at, id)
				if err != nil {
					return nil, err
				}
				drifts = append(drifts, drift...)
			}
		}
	}
	return drifts, nil
}

// empty is what is told of a role whose slot holds nothing.
func (r role) empty() compile.Drift {
	return drifted(fmt.Sprintf("%s, slot %d", r.name, r.slot), "a generation", compile.GotEmptySlot)
}

// verifyPin compares the pin of a place with the id that packets read there.
func (sl *Slots) verifyPin(at place, id uint32) ([]compile.Drift, error) {
	if sl.pins.Path == "" {
		return nil, nil
	}
	m, err := ebpf.LoadPinnedMap(sl.pins.SlotMap(at.slot, at.name), nil)
	want := fmt.Sprintf("a pin of map %d, which packets read", id)
	if errors.Is(err, fs.ErrNotExist) {
		if sl.held.has(at, id) {
			return nil, nil
		}
		return []compile.Drift{drifted(at.String(), want, "no pin")}, nil
	}
	if err != nil {
		return nil, kernel.Explain("open the pin of "+at.String(), err)
	}
	defer func() { _ = m.Close() }()
	got, err := kernel.MapID(m)
	if err != nil || uint32(got) == id {
		return nil, err
	}
	return []compile.Drift{drifted(at.String(), want, fmt.Sprintf("a pin of map %d", got))}, nil
}

func drifted(where, want, got string) compile.Drift {
	return compile.Drift{Where: where, Want: want, Got: got}
}
