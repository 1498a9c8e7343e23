// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spillway/spillway/loader/kernel"
)

// missingPins names what this handle holds and whose pin is not there. What a process holds open works on without
// its pin, but dies with the process.
func (d *Dataplane) missingPins() ([]string, error) {
	if d.pins.Path == "" {
		return nil, nil
	}
	var missing []string
	look := func(name, path string) error {
		_, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, name)
			return nil
		}
		return kernel.Explain("look for the pin of "+name, err)
	}
	for _, w := range d.wanted() {
		if err := look(w.name, w.path); err != nil {
			return nil, err
		}
	}
	slices.Sort(missing)
	return missing, nil
}

// wantedPin is a pin that must be there, and what this handle holds of it.
type wantedPin struct {
	part
	path string
}

// wanted lists the pins of what this handle holds: the root, the maps, the pair in force, and the inner maps of every
// role.
func (d *Dataplane) wanted() []wantedPin {
	var all []wantedPin
	add := func(name, path string, clone func() (pinned, error)) {
		all = append(all, wantedPin{part{name, clone}, path})
	}
	add("the root's words", d.pins.RootWords(), func() (pinned, error) { return d.WordsMap().Clone() })
	add("the root's next", d.pins.RootNext(), func() (pinned, error) { return d.NextMap().Clone() })
	add("the root program", d.pins.RootProgram(), func() (pinned, error) {
		if d.Program() == nil {
			return nil, kernel.ErrNotPinned // adopted without programs: an agent must do it
		}
		return d.Program().Clone()
	})
	for name, m := range d.maps {
		if isPinnedMapName(name) {
			add(name, d.pins.MapPath(name), func() (pinned, error) { return m.Clone() })
		}
	}
	if d.pair != nil {
		for _, p := range d.pair.parts() {
			add("program "+p.name, filepath.Join(d.pins.Pair(d.pair.id), p.name), p.clone)
		}
	}
	for _, r := range d.Words.roles() {
		for _, name := range r.maps {
			at := place{r.slot, name}
			id, err := kernel.EntryOf(d.maps[name], uint32(r.slot))
			if err != nil || !d.held.has(at, id) {
				continue // VerifyWiring tells
			}
			add(at.String(), d.pins.SlotMap(r.slot, name), func() (pinned, error) {
				m, err := d.held.clone(at, id)
				if m == nil && err == nil {
					err = kernel.ErrNotPinned
				}
				return m, err
			})
		}
	}
	return all
}

// Repin pins again what this handle still holds and whose pin was removed: maps with all that is in them, and
// programs. A link lives by its pin alone, so one that is gone must be attached again. It returns how many were pinned.
func (d *Dataplane) Repin() (int, error) {
	missing, err := d.missingPins()
	if err != nil || len(missing) == 0 {
		return 0, err
	}
	if err := d.pins.Prepare(); err != nil {
		return 0, err
	}
	n := 0
	for _, w := range d.wanted() {
		if !slices.Contains(missing, w.name) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(w.path), 0o700); err != nil {
			return n, kernel.Explain("make the pin folder", err)
		}
		if err := w.pin(w.path); err != nil {
			return n, err
		}
		n++
	}
	return n, d.pins.KeepOwner()
}
