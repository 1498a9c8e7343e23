// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
)

// VerifyGeneration compares a slot, row by row, with what it should hold.
func (d *Dataplane) VerifyGeneration(slot uint8, img *Image) ([]Drift, error) {
	return d.verifySlot(slot, generationMaps, img.tables(d.capacity))
}

// VerifyHost compares the published host file with what it should be.
func (d *Dataplane) VerifyHost(img *HostImage) ([]Drift, error) {
	return d.verifySlot(d.Control().Host, hostMaps, img.tables(d.capacity.Allowlist+1))
}

func (d *Dataplane) verifySlot(slot uint8, names []string, tables map[string]table) ([]Drift, error) {
	var drifts []Drift
	for _, name := range names {
		found, err := d.verifyTable(slot, name, tables[name])
		if err != nil {
			return nil, fmt.Errorf("verify %s: %w", name, err)
		}
		drifts = append(drifts, found...)
	}
	return drifts, nil
}

func (d *Dataplane) verifyTable(slot uint8, name string, t table) ([]Drift, error) {
	m, err := d.innerMap(name, slot)
	if err != nil {
		return nil, err
	}
	if m == nil {
		if t.empty() {
			return nil, nil
		}
		return []Drift{{fmt.Sprintf("slot %d of %s", slot, name), "a map", "nothing"}}, nil
	}
	defer func() { _ = m.Close() }()
	drifts, err := t.compare(m)
	if err != nil {
		return nil, err
	}
	info, err := m.Info()
	if err != nil {
		return nil, err
	}
	if !info.Frozen() {
		drifts = append(drifts, Drift{fmt.Sprintf("slot %d of %s", slot, name), "frozen", "writable"})
	}
	return drifts, nil
}

// Where VerifyWiring found something, for callers that mend it.
const (
	// WherePrograms: nothing, or something else, is behind the root program. RefillPrograms mends it.
	WherePrograms = "PROG_ARRAY behind the root program"
	// WherePins: pins were removed. Repin mends it, as long as the process that holds the maps lives.
	WherePins = "pins"

	whereInterface = "interface "
)

// OnInterface reports whether the drift is a link of an interface. Attach mends it.
func (d Drift) OnInterface() bool { return strings.HasPrefix(d.Where, whereInterface) }

// VerifyWiring checks what makes the maps count at all: a dataplane behind the root program, programs that read the
// pinned maps, links that hold, slots that exist. It is cheap enough for a watchdog.
func (d *Dataplane) VerifyWiring() ([]Drift, error) {
	var drifts []Drift
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
		drifts = append(drifts, Drift{WherePins, "all of them below " + d.pins.base(), "without " + strings.Join(missing, ", ")})
	}
	attachments, err := d.Attachments()
	if err != nil {
		return nil, err
	}
	root, err := d.rootID()
	if err != nil {
		return nil, err
	}
	for _, a := range attachments {
		switch {
		case a.State != StateAttached:
			drifts = append(drifts, Drift{whereInterface + a.Interface, StateAttached, a.State})
		case root != 0 && a.ProgramID != root:
			drifts = append(drifts, Drift{whereInterface + a.Interface, fmt.Sprintf("root program %d", root), fmt.Sprintf("program %d", a.ProgramID)})
		}
	}
	empty, err := d.verifySlots()
	return append(drifts, empty...), err
}

// rootID returns the id of the pinned root program, 0 where nothing is pinned.
func (d *Dataplane) rootID() (uint32, error) {
	if d.pins.folder == "" {
		return 0, nil
	}
	p, err := ebpf.LoadPinnedProgram(d.pins.root(), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, explain("open the pinned root program", err)
	}
	defer func() { _ = p.Close() }()
	return programID(p)
}

func (d *Dataplane) verifyPrograms() ([]Drift, error) {
	for _, c := range programChain {
		if drift, err := d.verifyProgram(c.index, c.name); err != nil || len(drift) > 0 {
			return drift, err
		}
	}
	return nil, nil
}

func (d *Dataplane) verifyProgram(index uint32, name string) ([]Drift, error) {
	var p *ebpf.Program
	err := d.maps[bpf.DataplaneMapPrograms].Lookup(index, &p)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return []Drift{{WherePrograms, name, "nothing: what it would see passes"}}, nil
	}
	if err != nil {
		return nil, explain("look behind the root program", err) // not being able to look is no drift
	}
	defer func() { _ = p.Close() }()
	used, err := mapIDs(p)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{bpf.DataplaneMapWords, bpf.DataplaneMapGenerations, bpf.DataplaneMapFlows} {
		id, err := mapID(d.maps[name])
		if err != nil {
			return nil, err
		}
		if !slices.Contains(used, id) {
			return []Drift{{WherePrograms, "a program that reads the pinned " + name, "one that reads another"}}, nil
		}
	}
	return nil, nil
}

func (d *Dataplane) verifySlots() ([]Drift, error) {
	var drifts []Drift
	c := d.Control()
	for _, s := range []struct {
		role, name string
		slot       uint8
	}{
		{RoleStable, bpf.DataplaneMapGenerations, c.Stable},
		{RoleCandidate, bpf.DataplaneMapGenerations, c.Candidate},
		{RolePrevious, bpf.DataplaneMapGenerations, c.Previous},
		{"host", bpf.DataplaneMapHosts, c.Host},
	} {
		if s.slot == bpf.SlotEmpty {
			continue
		}
		m, err := d.innerMap(s.name, s.slot)
		if err != nil {
			return nil, err
		}
		if m == nil {
			drifts = append(drifts, Drift{fmt.Sprintf("%s, slot %d", s.role, s.slot), "a generation", "nothing: it passes"})
			continue
		}
		_ = m.Close()
	}
	return drifts, nil
}
