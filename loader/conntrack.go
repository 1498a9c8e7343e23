// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
)

// The program that asks connection tracking is an object of its own, with pins of its own:
//
//	<folder>/conntrack/program    spillway_conntrack
//	<folder>/conntrack/question   where a dataplane asks, and finds the answer
//	<folder>/conntrack/next       where each load of the dataplane goes on, by an index of its own
//
// Where nf_conntrack is built into the kernel, the agent loads it. Where it is a module, only CAP_SYS_ADMIN can: so root does
// before the agent (PrepareConntrack), and the agent uses the pins. They may be another build's: conntrack.h is for ever.
const (
	pinTracker  = "program"
	pinQuestion = "question"
	pinAfter    = "next"

	conntrackModule = "nf_conntrack"
)

func (p pins) conntrack() string { return filepath.Join(p.folder, "conntrack") }

// ErrNoConntrack: connection tracking cannot be asked, so only sockets vouch for connections.
var ErrNoConntrack = errors.New("connection tracking cannot be asked")

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

// unasked explains why the program could not be loaded.
func unasked(err error, isModule bool) error {
	switch {
	case !errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("%w: %w", ErrNoConntrack, explain("load the program that asks it", err))
	case isModule && !holds(unix.CAP_SYS_ADMIN):
		return errUnprepared
	}
	return errUntracked
}

var (
	errUnprepared = fmt.Errorf("%w: nf_conntrack is a module of this kernel, and what calls into one needs root", ErrNoConntrack)
	errUntracked  = fmt.Errorf("%w: the kernel has no nf_conntrack now", ErrNoConntrack)
)

// FixOfConntrack says what to do about connection tracking that is not asked.
func FixOfConntrack(err error) string {
	const restart = "systemctl restart spillway   (it touches no traffic)"
	switch {
	case errors.Is(err, errUnprepared):
		return "sudo spillway prepare   (the unit does it before each start), then: " + restart
	case errors.Is(err, errUntracked):
		return "modprobe nf_conntrack   (and a file in /etc/modules-load.d, for the next boot), then: " + restart
	}
	return restart + "; its log says more"
}

// whyUnasked is the cause as far as another process than the agent can see it.
func whyUnasked() error {
	there := func(path string) bool { _, err := os.Stat(path); return err == nil }
	switch {
	case there("/sys/kernel/btf/" + conntrackModule):
		return errUnprepared
	case !there("/sys/module/" + conntrackModule):
		return errUntracked
	}
	return ErrNoConntrack
}

// openTracker opens the pinned program; nil when there is none. One that is not whole, or of another shape, is none.
func (p pins) openTracker() (*tracker, error) {
	if p.folder == "" {
		return nil, nil
	}
	t, folder := &tracker{}, p.conntrack()
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
		return nil, errors.Join(explain("open what asks connection tracking", err), t.close())
	}
	return t, nil
}

// check refuses maps of another shape than this build's, and a program that reads others.
func (t *tracker) check() error {
	spec, err := bpf.LoadConntrack()
	if err != nil {
		return err
	}
	used, err := mapIDs(t.program)
	if err != nil {
		return err
	}
	for name, m := range map[string]*ebpf.Map{bpf.ConntrackMapConntracks: t.questions, bpf.ConntrackMapConntrackNext: t.next} {
		want := spec.Maps[name]
		id, err := mapID(m)
		if err != nil {
			return err
		}
		if m.Type() != want.Type || m.ValueSize() != want.ValueSize || m.MaxEntries() != want.MaxEntries || !slices.Contains(used, id) {
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
		if err := removePin(path); err != nil {
			return err
		}
		if err := p.pin(path); err != nil {
			return err
		}
	}
	return nil
}

// openTracker opens the pinned program, or loads and pins one. Without one the dataplane does what it did: only sockets vouch.
func (d *Dataplane) openTracker() {
	if d.lab {
		d.untracked = ErrNoConntrack
		return
	}
	if d.tracker, d.untracked = d.pins.openTracker(); d.tracker != nil {
		return
	}
	if d.tracker, d.untracked = loadTracker(); d.untracked != nil {
		d.log.Warn("connections without a socket here have nobody who vouches for them",
			"cause", d.untracked, "fix", FixOfConntrack(d.untracked))
		return
	}
	if d.pins.folder == "" {
		return
	}
	err := makeFolders(d.pins.conntrack())
	if err == nil {
		err = d.tracker.pin(d.pins.conntrack())
	}
	if err != nil {
		d.log.Warn("what asks connection tracking is not pinned", "error", err)
	}
}

// Conntrack returns nil when connection tracking is asked about connections that no socket of this host has; ErrNoConntrack, with
// the cause, when it is not; another error when that cannot be read.
func (d *Dataplane) Conntrack() error {
	if d.pair != nil {
		return d.untracked
	}
	id, err := d.Next()
	if err != nil {
		return err
	}
	if id == 0 {
		return ErrNoConntrack // there is no dataplane that could ask
	}
	p, err := d.pins.openPair(id)
	if err != nil {
		return err
	}
	if p == nil {
		return whyUnasked()
	}
	defer func() { _ = p.close() }()
	switch asked, err := entryOf(p.array, bpf.ProgramConntrack); {
	case err != nil:
		return err
	case asked == 0:
		return whyUnasked()
	}
	return nil
}

// PrepareConntrack loads and pins, as root, what asks connection tracking, below a folder that PreparePins made, and leaves it to the
// folder's owner. What is pinned there and the same stays. ErrNoConntrack where the kernel cannot.
func PrepareConntrack(folder string) error {
	fresh, err := loadTracker()
	if err != nil {
		return err
	}
	defer func() { _ = fresh.close() }()
	p := pins{folder: folder}
	old, err := p.openTracker()
	if err == nil && old != nil {
		same := old.is(fresh)
		if err := old.close(); err != nil || same {
			return err
		}
	}
	// The folder may be a user's with fewer rights: what lies there leads root nowhere else.
	if err := os.Mkdir(p.conntrack(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return explain("make the pin folder", err)
	}
	at, err := unix.Open(p.conntrack(), unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return explain("open the pin folder", err)
	}
	defer func() { _ = unix.Close(at) }()
	return errors.Join(fresh.pin(fmt.Sprintf("/proc/self/fd/%d", at)), p.keepOwner())
}

// is reports whether two programs have the same instructions.
func (t *tracker) is(other *tracker) bool {
	a, err1 := t.program.Info()
	b, err2 := other.program.Info()
	return err1 == nil && err2 == nil && a.Tag == b.Tag
}

// free returns an index that no load has. One after the other takes over, and takes the others' away, so there is one.
func (t *tracker) free() (uint32, error) {
	for i := range uint32(bpf.ConntrackNextMax) {
		if id, err := entryOf(t.next, i); err != nil || id == 0 {
			return i, err
		}
	}
	return 0, fmt.Errorf("all entries behind what asks connection tracking are taken: %w", ErrPinDiffers)
}

// entry is where this process's load goes on.
func (t *tracker) entry() uint32 {
	if t == nil {
		return 0
	}
	return t.index
}

// tracking is how one load asks: its handles of the program and of the array in which it has an entry. The zero value asks nobody.
type tracking struct {
	program *ebpf.Program // nil where the pair was opened from its pins
	next    *ebpf.Map
	index   uint32
}

func (t *tracker) tracking() (a tracking, err error) {
	if t == nil {
		return a, nil
	}
	a.index = t.index
	if a.program, err = t.program.Clone(); err == nil {
		a.next, err = t.next.Clone()
	}
	return a, explain("hold what asks connection tracking", err)
}

func (a tracking) close() error {
	var errs []error
	if a.program != nil {
		errs = append(errs, a.program.Close())
	}
	if a.next != nil {
		errs = append(errs, a.next.Close())
	}
	return errors.Join(errs...)
}

// parts are what is pinned with the pair. The kernel empties a PROG_ARRAY when its last user reference goes, also while another
// set is pinned in its place.
func (a tracking) parts() []part {
	if a.next == nil {
		return nil
	}
	return []part{{pinNext, func() (pinned, error) { return a.next.Clone() }}}
}

// fill puts the pair's payload program where the program goes on, and then the program where the pair asks.
func (a tracking) fill(p *pair) error {
	if a.program == nil {
		return nil
	}
	if err := a.next.Put(a.index, p.payload); err != nil {
		return explain("put the payload program behind what asks connection tracking", err)
	}
	return explain("put what asks connection tracking behind the dataplane", p.array.Put(uint32(bpf.ProgramConntrack), a.program))
}

// sweep empties the entries of all other loads, once no packet is in them.
func (a tracking) sweep(log *slog.Logger) {
	if a.next == nil {
		return
	}
	var others []uint32
	for i := range uint32(bpf.ConntrackNextMax) {
		if id, err := entryOf(a.next, i); err == nil && id != 0 && i != a.index {
			others = append(others, i)
		}
	}
	if len(others) == 0 {
		return
	}
	err := waitForPackets()
	for _, i := range others {
		if err == nil {
			err = a.next.Delete(i)
		}
	}
	if err != nil {
		log.Warn("what asks connection tracking knows programs of an earlier start", "error", err)
	}
}

// verify looks whether the pair still asks, and is gone on with.
func (a tracking) verify(p *pair) ([]Drift, error) {
	if a.program == nil {
		return nil, nil
	}
	want, err := programID(a.program)
	if err != nil {
		return nil, err
	}
	for _, look := range []struct {
		what string
		in   *ebpf.Map
		at   uint32
		want uint32
	}{
		{"what asks connection tracking", p.array, bpf.ProgramConntrack, want},
		{"the payload program behind what asks connection tracking", a.next, a.index, p.payloadID},
	} {
		got, err := entryOf(look.in, look.at)
		if err != nil {
			return nil, explain("look for "+look.what, err)
		}
		if got != look.want {
			return []Drift{drifted(WherePrograms, fmt.Sprintf("%s, program %d", look.what, look.want), fmt.Sprintf("program %d", got))}, nil
		}
	}
	return nil, nil
}
