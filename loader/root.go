// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/migrate"
	"github.com/spillway/spillway/loader/pins"
)

// Root is what every build reads, whatever stands behind it: the root program, its words, and the one entry that says
// which dataplane is in force. It never changes (bpf/root.h), so a command that does not understand the dataplane can
// still let everything pass.
type Root struct {
	folder  pins.Folder
	program *ebpf.Program // nil where only the words are wanted
	words   *ebpf.Map
	next    *ebpf.Map
	page    []byte
	at      *bpf.RootWords
	// layout 2 had no root: while it decides somewhere, its words get what these get
	old atomic.Pointer[migrate.Rootless]
}

// OpenRoot opens what is pinned, for a command that finds a dataplane which it does not understand. ErrNotPinned when
// there is no root, and no layout 2, which had none; ErrForeignABI when the place is taken by something else.
func OpenRoot(folder string) (*Root, error) {
	r := &Root{folder: pins.Folder{Path: folder}}
	old, err := migrate.OpenRootlessWords(r.folder)
	if err != nil && !errors.Is(err, kernel.ErrNotPinned) {
		return nil, err
	}
	r.old.Store(old)
	if r.words, err = ebpf.LoadPinnedMap(r.folder.RootWords(), nil); errors.Is(err, fs.ErrNotExist) {
		if old != nil {
			return r, nil
		}
		return nil, fmt.Errorf("%s: %w", r.folder.RootFolder(), kernel.ErrNotPinned)
	}
	if err != nil {
		return nil, errors.Join(kernel.Explain("open the root's words", err), r.Close())
	}
	if r.next, err = ebpf.LoadPinnedMap(r.folder.RootNext(), nil); err != nil {
		return nil, errors.Join(r.folder.ExplainMissing("next", err), r.Close())
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

// loadRoot adopts the pinned root, and makes what is missing of it. A root program that reads other maps than the
// pinned ones obeys nobody; it is replaced, here and on every link.
func loadRoot(p pins.Folder, log *slog.Logger) (*Root, error) {
	spec, err := bpf.LoadRoot()
	if err != nil {
		return nil, fmt.Errorf("read the embedded root program: %w", err)
	}
	r := &Root{folder: p}
	if r.words, err = makeRootMap(p, spec.Maps[bpf.RootMapRoot], p.RootWords()); err != nil {
		return nil, err
	}
	if r.next, err = makeRootMap(p, spec.Maps[bpf.RootMapRootNext], p.RootNext()); err != nil {
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

// makeRootMap opens a pinned map of the root, or makes and pins it.
func makeRootMap(p pins.Folder, spec *ebpf.MapSpec, path string) (*ebpf.Map, error) {
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
		if err := removePin(r.folder.RootProgram()); err != nil {
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

// Close releases handles and the mapping; what is pinned works on.
func (r *Root) Close() error {
	var errs []error
	if r.page != nil {
		errs = append(errs, unix.Munmap(r.page))
		r.page = nil
	}
	if old := r.old.Swap(nil); old != nil {
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

// Bypass returns the global kill switch.
func (r *Root) Bypass() Deadline {
	until := DeadlineForever
	for _, w := range r.switches() {
		until = min(until, Deadline(atomic.LoadUint64(w)))
	}
	return until
}

// SetBypass lets everything pass until the deadline; 0 ends it. It is one store and takes effect with the next packet.
func (r *Root) SetBypass(until Deadline) {
	for _, w := range r.switches() {
		atomic.StoreUint64(w, uint64(until))
	}
}

// switches are the words that let everything pass: one, but for an upgrade from layout 2.
func (r *Root) switches() []*uint64 {
	var all []*uint64
	if r.at != nil {
		all = append(all, &r.at.BypassUntilNs)
	}
	if old := r.old.Load(); old != nil {
		all = append(all, old.Bypass())
	}
	return all
}

// Beat says that the agent lives. When it has not for guards.agent_timeout, everything passes.
func (r *Root) Beat() {
	if r.at != nil {
		atomic.StoreUint64(&r.at.HeartbeatNs, monotonicNS())
	}
	if old := r.old.Load(); old != nil {
		atomic.StoreUint64(old.Heartbeat(), monotonicNS())
	}
}

// Heartbeat returns the age of the last beat, negative when there never was one.
func (r *Root) Heartbeat() time.Duration {
	var beat uint64
	if r.at != nil {
		beat = atomic.LoadUint64(&r.at.HeartbeatNs)
	}
	if old := r.old.Load(); old != nil {
		beat = max(beat, atomic.LoadUint64(old.Heartbeat()))
	}
	return beatAge(beat)
}
