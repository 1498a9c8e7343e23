// SPDX-License-Identifier: Apache-2.0

package root

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
)

// Root is what every build reads, whatever stands behind it: the root program, its words, and the one entry that says
// which dataplane is in force.
type Root struct {
	folder  pins.Folder
	program *ebpf.Program // nil where only the words are wanted
	words   *ebpf.Map
	next    *ebpf.Map
	page    []byte
	at      *bpf.RootWords
	beside  atomic.Pointer[Switch] // nil for none
}

// Open opens what is pinned, for a command that finds a dataplane which it does not understand; beside is closed with
// it, and may be nil. ErrNotPinned when there is neither a root nor a switch beside it, ErrForeignABI when the place is
// taken by something else.
func Open(folder pins.Folder, beside Switch) (*Root, error) {
	r := &Root{folder: folder}
	r.Join(beside)
	var err error
	if r.words, err = ebpf.LoadPinnedMap(folder.RootWords(), nil); errors.Is(err, fs.ErrNotExist) {
		if beside != nil {
			return r, nil
		}
		return nil, fmt.Errorf("%s: %w", folder.RootFolder(), kernel.ErrNotPinned)
	}
	if err != nil {
		return nil, errors.Join(kernel.Explain("open the root's words", err), r.Close())
	}
	if r.next, err = ebpf.LoadPinnedMap(folder.RootNext(), nil); err != nil {
		return nil, errors.Join(folder.ExplainMissing("next", err), r.Close())
	}
	if err := r.check(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := r.mapWords(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// check compares the pinned maps with what root.h makes them.
func (r *Root) check() error {
	spec, err := bpf.LoadRoot()
	if err != nil {
		return fmt.Errorf("read the embedded root program: %w", err)
	}
	return errors.Join(kernel.CheckMap(spec.Maps[bpf.RootMapRoot], r.words),
		kernel.CheckMap(spec.Maps[bpf.RootMapRootNext], r.next))
}

// Load adopts the pinned root, and makes what is missing of it. A root program that reads other maps than the
// pinned ones obeys nobody; it is replaced, here and on every link.
func Load(p pins.Folder, log *slog.Logger) (*Root, error) {
	spec, err := bpf.LoadRoot()
	if err != nil {
		return nil, fmt.Errorf("read the embedded root program: %w", err)
	}
	r := &Root{folder: p}
	if r.words, err = makeMap(p, spec.Maps[bpf.RootMapRoot], p.RootWords()); err != nil {
		return nil, err
	}
	if r.next, err = makeMap(p, spec.Maps[bpf.RootMapRootNext], p.RootNext()); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := r.mapWords(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := r.adopt(spec, log); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// makeMap opens a pinned map of the root, or makes and pins it.
func makeMap(p pins.Folder, spec *ebpf.MapSpec, path string) (*ebpf.Map, error) {
	if p.Path != "" {
		m, err := ebpf.LoadPinnedMap(path, nil)
		if err == nil {
			if err := kernel.CheckMap(spec, m); err != nil {
				return nil, errors.Join(err, m.Close())
			}
			return m, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, kernel.Explain("open "+path, err)
		}
	}
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, kernel.Explain("create the root's maps", err)
	}
	if p.Path == "" {
		return m, nil
	}
	if err := m.Pin(path); err != nil {
		return nil, errors.Join(kernel.Explain("pin "+path, err), m.Close())
	}
	return m, nil
}

func (r *Root) mapWords() error {
	page, err := unix.Mmap(r.words.FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return kernel.Explain("map the root's words", err)
	}
	r.page, r.at = page, (*bpf.RootWords)(unsafe.Pointer(&page[0]))
	atomic.CompareAndSwapUint64(&r.at.Magic, 0, bpf.RootMagic)
	if magic := atomic.LoadUint64(&r.at.Magic); magic != bpf.RootMagic {
		return fmt.Errorf("%s: %w: its first word is %#x: run `spillway detach`, then start again", r.folder.RootWords(),
			kernel.ErrForeignABI, magic)
	}
	return nil
}

// Close releases handles and the mapping; what is pinned works on.
func (r *Root) Close() error {
	var errs []error
	if r.page != nil {
		errs = append(errs, unix.Munmap(r.page))
		r.page = nil
	}
	if old := r.Leave(); old != nil {
		errs = append(errs, old.Close(), old.Unmap())
	}
	if r.words != nil {
		errs = append(errs, r.words.Close())
	}
	if r.next != nil {
		errs = append(errs, r.next.Close())
	}
	if r.program != nil {
		errs = append(errs, r.program.Close())
	}
	return errors.Join(errs...)
}

// Layout returns the ABI number of the dataplane that was put in force last, 0 for none yet.
func (r *Root) Layout() uint64 {
	if r.at == nil {
		return pins.Layout2
	}
	return atomic.LoadUint64(&r.at.Layout)
}

// Next returns the id of the program behind the root program, 0 for none: then everything passes.
func (r *Root) Next() (uint32, error) {
	if r.next == nil {
		return 0, nil
	}
	id, err := kernel.EntryOf(r.next, 0)
	return id, kernel.Explain("look behind the root program", err)
}

// PutInForce has the root program call a dataplane of a layout, by one store.
func (r *Root) PutInForce(layout uint64, dataplane *ebpf.Program) error {
	// The word first: it is asked only where no folder has the program in force.
	atomic.StoreUint64(&r.at.Layout, layout)
	return r.next.Put(uint32(0), dataplane)
}

// WordsMap returns the map of the words, which every dataplane shares.
func (r *Root) WordsMap() *ebpf.Map { return r.words }

// NextMap returns the map of the one entry.
func (r *Root) NextMap() *ebpf.Map { return r.next }
