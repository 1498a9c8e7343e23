// SPDX-License-Identifier: Apache-2.0

package root

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
)

// Program returns the root program, nil where only the words were opened.
func (r *Root) Program() *ebpf.Program { return r.program }

// adopt takes over the pinned root program, so that new versions of the code never touch the network card.
func (r *Root) adopt(spec *ebpf.CollectionSpec, log *slog.Logger) error {
	if r.folder.Path == "" {
		return r.load(spec)
	}
	pinned, err := ebpf.LoadPinnedProgram(r.folder.RootProgram(), nil)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return kernel.Explain("open the pinned root program", err)
	default:
		obeys, err := r.obeys(pinned)
		if err == nil && obeys {
			r.program = pinned
			return r.updateLinks()
		}
		if err := errors.Join(err, pinned.Close()); err != nil {
			return err
		}
		log.Warn("the pinned root program reads other maps than the pinned ones: replacing it")
		if err := pins.Remove(r.folder.RootProgram()); err != nil {
			return err
		}
	}
	if err := r.load(spec); err != nil {
		return err
	}
	if err := r.program.Pin(r.folder.RootProgram()); err != nil {
		return kernel.Explain("pin the root program", err)
	}
	return r.updateLinks()
}

func (r *Root) load(spec *ebpf.CollectionSpec) error {
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		MapReplacements: map[string]*ebpf.Map{bpf.RootMapRoot: r.words, bpf.RootMapRootNext: r.next}})
	if err != nil {
		return kernel.Explain("load the root program", err)
	}
	r.program = c.DetachProgram(bpf.RootProgSpillwayRoot)
	c.Close()
	return nil
}

// obeys reports whether a root program reads the pinned words and the pinned PROG_ARRAY.
func (r *Root) obeys(p *ebpf.Program) (bool, error) {
	used, err := kernel.MapIDs(p)
	if err != nil {
		return false, err
	}
	for _, m := range []*ebpf.Map{r.words, r.next} {
		id, err := kernel.MapID(m)
		if err != nil {
			return false, err
		}
		if !slices.Contains(used, id) {
			return false, nil
		}
	}
	return true, nil
}

// updateLinks puts the root program on every pinned link that has another one: left by a crash in the middle of a
// replacement, such a link would obey nobody.
func (r *Root) updateLinks() error {
	id, err := kernel.ProgramID(r.program)
	if err != nil {
		return err
	}
	links, err := openLinks(r.folder)
	if err != nil {
		return err
	}
	var errs []error
	for name, l := range links {
		info, err := l.Info()
		if err == nil && uint32(info.Program) != id {
			err = l.Update(r.program)
		}
		if err != nil && !errors.Is(err, unix.ENOLINK) {
			errs = append(errs, kernel.Explain("look after the root program on "+name, err))
		}
		_ = l.Close()
	}
	return errors.Join(errs...)
}

func openLinks(p pins.Folder) (map[string]link.Link, error) {
	if p.Path == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(p.Links())
	if err != nil {
		return nil, kernel.Explain("list the pinned links", err)
	}
	links := map[string]link.Link{}
	for _, e := range entries {
		l, err := link.LoadPinnedLink(p.Link(e.Name()), nil)
		if err != nil {
			return links, kernel.Explain("open the pinned link of "+e.Name(), err)
		}
		links[e.Name()] = l
	}
	return links, nil
}

// RootID returns the id of the pinned root program, to compare with what netlink says of an interface; 0 when none is
// pinned.
func (r *Root) RootID() (uint32, error) {
	if r.folder.Path == "" {
		return 0, nil
	}
	path := r.folder.RootProgram()
	if old := r.joined(); old != nil {
		if id, err := r.Next(); err == nil && id == 0 { // it still decides
			path = old.Program()
		}
	}
	p, err := ebpf.LoadPinnedProgram(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, kernel.Explain("open the pinned root program", err)
	}
	defer func() { _ = p.Close() }()
	return kernel.ProgramID(p)
}
