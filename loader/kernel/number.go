// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// What the kernel holds is compared as numbers: a look-up in a map of maps or a PROG_ARRAY gives an id, and a pin that
// was opened by its path has the same id or is not it. Opening by id (BPF_*_GET_FD_BY_ID) would want CAP_SYS_ADMIN,
// which the agent does not have.

// EntryOf returns the id in an entry of a map of maps or a PROG_ARRAY, 0 when it is empty.
func EntryOf(m *ebpf.Map, index uint32) (uint32, error) {
	var id uint32
	err := m.Lookup(index, &id)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return 0, nil
	}
	return id, err
}

func MapIDs(p *ebpf.Program) ([]ebpf.MapID, error) {
	info, err := p.Info()
	if err != nil {
		return nil, Explain("look at a program", err)
	}
	ids, ok := info.MapIDs()
	if !ok {
		return nil, fmt.Errorf("look at a program's maps: %w", ErrUnsupported)
	}
	return ids, nil
}

func MapID(m *ebpf.Map) (ebpf.MapID, error) {
	info, err := m.Info()
	if err != nil {
		return 0, Explain("look at a map", err)
	}
	id, ok := info.ID()
	if !ok {
		return 0, fmt.Errorf("look at a map's id: %w", ErrUnsupported)
	}
	return id, nil
}

func ProgramID(p *ebpf.Program) (uint32, error) {
	info, err := p.Info()
	if err != nil {
		return 0, Explain("look at a program", err)
	}
	id, ok := info.ID()
	if !ok {
		return 0, fmt.Errorf("look at a program's id: %w", ErrUnsupported)
	}
	return uint32(id), nil
}

// CheckMap refuses a map that is not of the shape of its spec; how many entries it has is the host file's matter.
func CheckMap(spec *ebpf.MapSpec, m *ebpf.Map) error {
	spec = spec.Copy()
	spec.MaxEntries = m.MaxEntries()
	if err := spec.Compatible(m); err != nil {
		return fmt.Errorf("map %s: %w: %v: run `spillway detach`, then start again", spec.Name, ErrForeignABI, err)
	}
	return nil
}
