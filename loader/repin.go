// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/spillway/spillway/bpf"
)

// missingPins names the maps and the root program whose pin is not there. What a process holds open works on without
// its pin, but dies with the process.
func (d *Dataplane) missingPins() ([]string, error) {
	if d.pins.folder == "" {
		return nil, nil
	}
	var missing []string
	look := func(name, path string) error {
		_, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, name)
			return nil
		}
		return explain("look for the pin of "+name, err)
	}
	for name := range d.maps {
		if isPinnedMapName(name) {
			if err := look(name, d.pins.mapPath(name)); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(missing)
	return missing, look(pinnedRoot, d.pins.root())
}

// pinnedRoot is how missingPins calls the root program.
const pinnedRoot = "the root program"

// Repin pins again what this handle still holds and whose pin was removed: maps with all that is in them, and the root
// program. A link lives by its pin alone, so one that is gone must be attached again. It returns how many were pinned.
func (d *Dataplane) Repin() (int, error) {
	missing, err := d.missingPins()
	if err != nil || len(missing) == 0 {
		return 0, err
	}
	if err := d.pins.prepare(); err != nil {
		return 0, err
	}
	for n, name := range missing {
		if err := d.repin(name); err != nil {
			return n, explain("pin "+name+" again", err)
		}
	}
	return len(missing), nil
}

// repin pins through a clone: a handle that was pinned at a path once believes that it still is.
func (d *Dataplane) repin(name string) error {
	if name == pinnedRoot {
		root, ok := d.programs[bpf.DataplaneProgSpillwayRoot]
		if !ok {
			return ErrNotPinned // adopted without programs: an agent must do it
		}
		clone, err := root.Clone()
		if err != nil {
			return err
		}
		return errors.Join(clone.Pin(d.pins.root()), clone.Close())
	}
	clone, err := d.maps[name].Clone()
	if err != nil {
		return err
	}
	return errors.Join(clone.Pin(d.pins.mapPath(name)), clone.Close())
}
