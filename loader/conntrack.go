// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
)

// The program that asks connection tracking is an object of its own, with pins of its own:
//
//	<folder>/conntrack/program    spillway_conntrack
//	<folder>/conntrack/question   where a dataplane asks, and finds the answer
//	<folder>/conntrack/next       where each load of the dataplane goes on, by an index of its own
//
// Where nf_conntrack is built into the kernel, the agent loads it. Where it is a module, only CAP_SYS_ADMIN can: so
// root does before the agent (PrepareConntrack), and the agent uses the pins. They may be another build's: conntrack.h
// is for ever.
const (
	pinTracker  = "program"
	pinQuestion = "question"
	pinAfter    = "next"

	conntrackModule = "nf_conntrack"
)

// tracker is the loaded program with its maps.
type tracker struct {
	program         *ebpf.Program
	questions, next *ebpf.Map
	index           uint32 // in next, of this process's load
}

func (t *tracker) close() error {
	if t == nil {
		return nil
	}
	var errs []error
	for _, m := range []*ebpf.Map{t.questions, t.next} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	if t.program != nil {
		errs = append(errs, t.program.Close())
	}
	return errors.Join(errs...)
}

// loadTracker loads the program. ErrNoConntrack says what is missing.
func loadTracker() (*tracker, error) {
	spec, err := bpf.LoadConntrack()
	if err != nil {
		return nil, fmt.Errorf("read the embedded program that asks connection tracking: %w", err)
	}
	var options ebpf.CollectionOptions
	isModule := false
	if types, err := btf.LoadKernelModuleSpec(conntrackModule); err == nil {
		options.Programs.ExtraRelocationTargets = []*btf.Spec{types}
		isModule = true
	}
	c, err := ebpf.NewCollectionWithOptions(spec, options)
	if err != nil {
		return nil, unasked(err, isModule)
	}
	defer c.Close()
	return &tracker{program: c.DetachProgram(bpf.ConntrackProgSpillwayConntrack),
		questions: c.DetachMap(bpf.ConntrackMapConntracks), next: c.DetachMap(bpf.ConntrackMapConntrackNext)}, nil
}

// openTracker opens the pinned program; nil when there is none. One that is not whole, or of another shape, is none.
func openTracker(p pins.Folder) (*tracker, error) {
	if p.Path == "" {
		return nil, nil
	}
	t, folder := &tracker{}, p.Conntrack()
	var err error
	if t.questions, err = ebpf.LoadPinnedMap(filepath.Join(folder, pinQuestion), nil); err == nil {
		if t.next, err = ebpf.LoadPinnedMap(filepath.Join(folder, pinAfter), nil); err == nil {
			t.program, err = ebpf.LoadPinnedProgram(filepath.Join(folder, pinTracker), nil)
		}
	}
	if err == nil {
		err = t.check()
	}
	if err == nil {
		t.index, err = t.free()
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrPinDiffers) {
		return nil, t.close()
	}
	if err != nil {
		return nil, errors.Join(kernel.Explain("open what asks connection tracking", err), t.close())
	}
	return t, nil
}

// check refuses maps of another shape than this build's, and a program that reads others.
func (t *tracker) check() error {
	spec, err := bpf.LoadConntrack()
	if err != nil {
		return err
	}
	used, err := kernel.MapIDs(t.program)
	if err != nil {
		return err
	}
	for name, m := range map[string]*ebpf.Map{bpf.ConntrackMapConntracks: t.questions,
		bpf.ConntrackMapConntrackNext: t.next} {
		want := spec.Maps[name]
		id, err := kernel.MapID(m)
		if err != nil {
			return err
		}
		if m.Type() != want.Type || m.ValueSize() != want.ValueSize || m.MaxEntries() != want.MaxEntries ||
			!slices.Contains(used, id) {
			return fmt.Errorf("%s: %w", name, ErrPinDiffers)
		}
	}
	return nil
}

// pin pins the program below the folder, over what is there. The program comes last: where it is, its maps are.
func (t *tracker) pin(folder string) error {
	for _, p := range []part{
		{pinQuestion, func() (pinned, error) { return t.questions.Clone() }},
		{pinAfter, func() (pinned, error) { return t.next.Clone() }},
		{pinTracker, func() (pinned, error) { return t.program.Clone() }},
	} {
		path := filepath.Join(folder, p.name)
		if err := pins.Remove(path); err != nil {
			return err
		}
		if err := p.pin(path); err != nil {
			return err
		}
	}
	return nil
}

// openTracker opens the pinned program, or loads and pins one. Without one the dataplane does what it did: only sockets
// vouch.
func (ps *Programs) openTracker() {
	if ps.lab {
		ps.untracked = ErrNoConntrack
		return
	}
	if ps.tracker, ps.untracked = openTracker(ps.pins); ps.tracker != nil {
		return
	}
	if ps.tracker, ps.untracked = loadTracker(); ps.untracked != nil {
		ps.log.Warn("connections without a socket here have nobody who vouches for them",
			"cause", ps.untracked, "fix", FixOfConntrack(ps.untracked))
		return
	}
	if ps.pins.Path == "" {
		return
	}
	err := pins.MakeFolders(ps.pins.Conntrack())
	if err == nil {
		err = ps.tracker.pin(ps.pins.Conntrack())
	}
	if err != nil {
		ps.log.Warn("what asks connection tracking is not pinned", "error", err)
	}
}

// Conntrack returns nil when connection tracking is asked about connections that no socket of this host has;
// ErrNoConntrack, with the cause, when it is not; another error when that cannot be read.
func (ps *Programs) Conntrack() error {
	if ps.pair != nil {
		return ps.untracked
	}
	id, err := ps.root.Next()
	if err != nil {
		return err
	}
	if id == 0 {
		return ErrNoConntrack // there is no dataplane that could ask
	}
	p, err := openPair(ps.pins, id)
	if err != nil {
		return err
	}
	if p == nil {
		return whyUnasked()
	}
	defer func() { _ = p.close() }()
	switch asked, err := kernel.EntryOf(p.array, bpf.ProgramConntrack); {
	case err != nil:
		return err
	case asked == 0:
		return whyUnasked()
	}
	return nil
}

// PrepareConntrack loads and pins, as root, what asks connection tracking, below a folder that PreparePins made, and
// leaves it to the folder's owner. What is pinned there and the same stays. ErrNoConntrack where the kernel cannot.
func PrepareConntrack(folder string) error {
	fresh, err := loadTracker()
	if err != nil {
		return err
	}
	defer func() { _ = fresh.close() }()
	p := pins.Folder{Path: folder}
	old, err := openTracker(p)
	if err == nil && old != nil {
		same := old.is(fresh)
		if err := old.close(); err != nil || same {
			return err
		}
	}
	// The folder may be a user's with fewer rights: what lies there leads root nowhere else.
	if err := os.Mkdir(p.Conntrack(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return kernel.Explain("make the pin folder", err)
	}
	at, err := unix.Open(p.Conntrack(), unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return kernel.Explain("open the pin folder", err)
	}
	defer func() { _ = unix.Close(at) }()
	return errors.Join(fresh.pin(fmt.Sprintf("/proc/self/fd/%d", at)), p.KeepOwner())
}

// is reports whether two programs have the same instructions.
func (t *tracker) is(other *tracker) bool {
	a, err1 := t.program.Info()
	b, err2 := other.program.Info()
	return err1 == nil && err2 == nil && a.Tag == b.Tag
}

// entry is where this process's load goes on.
func (t *tracker) entry() uint32 {
	if t == nil {
		return 0
	}
	return t.index
}

// free returns an index that no load has. One after the other takes over, and takes the others' away, so there is one.
func (t *tracker) free() (uint32, error) {
	for i := range uint32(bpf.ConntrackNextMax) {
		if id, err := kernel.EntryOf(t.next, i); err != nil || id == 0 {
			return i, err
		}
	}
	return 0, fmt.Errorf("all entries behind what asks connection tracking are taken: %w", ErrPinDiffers)
}
