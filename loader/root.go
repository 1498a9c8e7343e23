// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
)

// adoptRoot takes over the pinned root program, so that new versions of the code never touch the network card. A root
// that reads other maps than the pinned ones obeys nobody; it is replaced, here and on every link.
func (d *Dataplane) adoptRoot() error {
	if d.pins.folder == "" {
		return nil
	}
	if err := d.adoptPinnedRoot(); err != nil {
		return err
	}
	return d.updateLinks()
}

func (d *Dataplane) adoptPinnedRoot() error {
	pinned, err := ebpf.LoadPinnedProgram(d.pins.root(), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return d.pinRoot()
	}
	if err != nil {
		return explain("open the pinned root program", err)
	}
	obeys, err := d.usesOurMaps(pinned)
	if err != nil || !obeys {
		_ = pinned.Close()
		if err != nil {
			return err
		}
		d.log.Warn("the pinned root program reads other maps than the pinned ones: replacing it")
		if err := removePin(d.pins.root()); err != nil {
			return err
		}
		return d.pinRoot()
	}
	_ = d.programs[bpf.DataplaneProgSpillwayRoot].Close()
	d.programs[bpf.DataplaneProgSpillwayRoot] = pinned
	return nil
}

func (d *Dataplane) pinRoot() error {
	return explain("pin the root program", d.programs[bpf.DataplaneProgSpillwayRoot].Pin(d.pins.root()))
}

// updateLinks puts the root program on every pinned link that has another one: left by a crash in the middle of a
// replacement, such a link would obey nobody.
func (d *Dataplane) updateLinks() error {
	root := d.programs[bpf.DataplaneProgSpillwayRoot]
	id, err := programID(root)
	if err != nil {
		return err
	}
	links, err := d.pins.openLinks()
	if err != nil {
		return err
	}
	var errs []error
	for name, l := range links {
		info, err := l.Info()
		if err == nil && uint32(info.Program) != id {
			err = l.Update(root)
		}
		if err != nil && !errors.Is(err, unix.ENOLINK) {
			errs = append(errs, explain("look after the root program on "+name, err))
		}
		_ = l.Close()
	}
	return errors.Join(errs...)
}

// usesOurMaps reports whether a root program reads the pinned words and the pinned PROG_ARRAY.
func (d *Dataplane) usesOurMaps(p *ebpf.Program) (bool, error) {
	used, err := mapIDs(p)
	if err != nil {
		return false, err
	}
	for _, name := range []string{bpf.DataplaneMapWords, bpf.DataplaneMapPrograms} {
		id, err := mapID(d.maps[name])
		if err != nil {
			return false, err
		}
		if !slices.Contains(used, id) {
			return false, nil
		}
	}
	return true, nil
}

func mapIDs(p *ebpf.Program) ([]ebpf.MapID, error) {
	info, err := p.Info()
	if err != nil {
		return nil, explain("look at a program", err)
	}
	ids, ok := info.MapIDs()
	if !ok {
		return nil, fmt.Errorf("look at a program's maps: %w", ErrUnsupported)
	}
	return ids, nil
}

func mapID(m *ebpf.Map) (ebpf.MapID, error) {
	info, err := m.Info()
	if err != nil {
		return 0, explain("look at a map", err)
	}
	id, ok := info.ID()
	if !ok {
		return 0, fmt.Errorf("look at a map's id: %w", ErrUnsupported)
	}
	return id, nil
}

func programID(p *ebpf.Program) (uint32, error) {
	info, err := p.Info()
	if err != nil {
		return 0, explain("look at a program", err)
	}
	id, ok := info.ID()
	if !ok {
		return 0, fmt.Errorf("look at a program's id: %w", ErrUnsupported)
	}
	return uint32(id), nil
}
