// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
)

// Programs are what stands behind the root program.
type Programs struct {
	*site
	words     *Words
	pair      *pair    // nil when nothing was loaded
	tracker   *tracker // nil when connection tracking is not asked
	untracked error    // why
	lab       bool
}

// pair is one load of the dataplane's code: the front, the dataplane and the payload program behind it, what compares
// behind both, and the PROG_ARRAY by which they hand over to each other. Each load has an array of its own, so one
// store into the root's entry changes all: no packet meets the dataplane of one build and the payload program of
// another.
type pair struct {
	array    *ebpf.Map
	front    *ebpf.Program
	id       uint32 // of the front, and of the whole
	behind   [len(behindFront)]*ebpf.Program
	ids      [len(behindFront)]uint32
	tracking tracking
	// reads is set once verifyMapsOf found that it reads the pinned maps: which maps a program reads never changes.
	reads atomic.Bool
}

// behindFront are the programs that the others hand over to: their names in the object, their pins, their entries in
// the array, and what people call them and their absence.
var behindFront = [...]struct {
	program, pin  string
	entry         uint32
	what, nothing string
}{
	{bpf.DataplaneProgSpillwayDataplane, pins.PinDataplane, bpf.ProgramDataplane, "the dataplane behind the front",
		compile.GotNothing},
	{bpf.DataplaneProgSpillwayPayload, pins.PinPayload, bpf.ProgramPayload, "the payload program", compile.GotNothing},
	{bpf.DataplaneProgSpillwayPair, pins.PinComparing, bpf.ProgramPair, "the program that compares",
		"nothing: no generations are compared"},
}

// behindPayload is the payload program's place among them: connection tracking goes on there.
const behindPayload = 1

// takePair takes the pair out of a collection that was loaded, to ask connection tracking by t, which may be nil.
func takePair(c *ebpf.Collection, t *tracker) (*pair, error) {
	p := &pair{array: c.DetachMap(bpf.DataplaneMapPrograms), front: c.DetachProgram(bpf.DataplaneProgSpillwayFront)}
	for i, next := range behindFront {
		p.behind[i] = c.DetachProgram(next.program)
	}
	var err error
	if p.tracking, err = t.tracking(); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p.numbered()
}

func (p *pair) numbered() (_ *pair, err error) {
	p.id, err = kernel.ProgramID(p.front)
	for i, program := range p.behind {
		if err == nil {
			p.ids[i], err = kernel.ProgramID(program)
		}
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *pair) close() error {
	errs := []error{p.tracking.close()}
	if p.array != nil {
		errs = append(errs, p.array.Close())
	}
	for _, program := range append(p.behind[:], p.front) {
		if program != nil {
			errs = append(errs, program.Close())
		}
	}
	return errors.Join(errs...)
}

// parts are what is pinned of a pair, the front last: where it is, the others are.
func (p *pair) parts() []part {
	parts := append(p.tracking.parts(), part{pins.PinArray, func() (pinned, error) { return p.array.Clone() }})
	for i, next := range behindFront {
		parts = append(parts, part{next.pin, func() (pinned, error) { return p.behind[i].Clone() }})
	}
	return append(parts, part{pins.PinFront, func() (pinned, error) { return p.front.Clone() }})
}

// part is something that can be pinned again and again: through a clone, because a handle that was pinned at a path
// once believes that it still is.
type part struct {
	name  string
	clone func() (pinned, error)
}

type pinned interface {
	Pin(path string) error
	Close() error
}

// pin pins the part at path, unless something is there already.
func (p part) pin(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	c, err := p.clone()
	if err != nil {
		return kernel.Explain("pin "+p.name, err)
	}
	return errors.Join(kernel.Explain("pin "+p.name, c.Pin(path)), c.Close())
}

func pinPair(p pins.Folder, pair *pair) error {
	if p.Path == "" {
		return nil
	}
	if err := os.MkdirAll(p.Pair(pair.id), 0o700); err != nil {
		return kernel.Explain("make the pin folder of the programs", err)
	}
	for _, part := range pair.parts() {
		if err := part.pin(filepath.Join(p.Pair(pair.id), part.name)); err != nil {
			return err
		}
	}
	return nil
}

// openPair opens the pinned pair of a front's id, nil when there is none. What is pinned there with another id is none.
func openPair(p pins.Folder, id uint32) (*pair, error) {
	if p.Path == "" {
		return nil, nil
	}
	pair, folder := &pair{}, p.Pair(id)
	var err error
	pair.array, err = ebpf.LoadPinnedMap(filepath.Join(folder, pins.PinArray), nil)
	for i, next := range behindFront {
		if err == nil {
			pair.behind[i], err = ebpf.LoadPinnedProgram(filepath.Join(folder, next.pin), nil)
		}
	}
	if err == nil {
		pair.front, err = ebpf.LoadPinnedProgram(filepath.Join(folder, pins.PinFront), nil)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, pair.close()
	}
	if err != nil {
		return nil, errors.Join(kernel.Explain("open the pinned programs", err), pair.close())
	}
	if pair, err = pair.numbered(); err == nil && pair.id != id {
		return nil, pair.close()
	}
	return pair, err
}

// fill puts behind the front and the dataplane what they hand over to, the dataplane last.
func (p *pair) fill() error {
	for i, next := range slices.Backward(behindFront[:]) {
		if err := p.array.Put(next.entry, p.behind[i]); err != nil {
			return kernel.Explain("put in its place "+next.what, err)
		}
	}
	return p.tracking.fill(p)
}

// putInForce puts this handle's pair behind the root program by one store, and then takes the pair before it away.
// Whatever moment it is killed at: the pair in force is pinned whole, and others are what the next start takes away.
func (ps *Programs) putInForce() error {
	if err := ps.pair.fill(); err != nil {
		return err
	}
	if err := pinPair(ps.pins, ps.pair); err != nil {
		return err
	}
	if err := ps.store(); err != nil {
		return err
	}
	ps.sweepPairs()
	return nil
}

// store is the moment of a change of code.
func (ps *Programs) store() error {
	var err error
	ps.words.unseen(func() { err = ps.root.PutInForce(pins.Layout, ps.pair.front) })
	return kernel.Explain("put the dataplane behind the root program", err)
}

// RefillPrograms puts this handle's programs behind the root program again. A root program in front of nothing passes
// everything.
func (ps *Programs) RefillPrograms() error {
	if ps.pair == nil {
		return fmt.Errorf("put the dataplane behind the root program: %w", kernel.ErrNotPinned)
	}
	var err error
	ps.words.unseen(func() { err = ps.pair.fill() }) // what the dataplane did not see passed
	if err != nil {
		return err
	}
	return ps.store()
}

// sweepPairs removes the pins of all other pairs. A packet may still run in the one that was in force, and the kernel
// empties a PROG_ARRAY when its last user reference goes: so it waits until that packet has left. What cannot be
// removed now is removed at the next start.
func (ps *Programs) sweepPairs() {
	if ps.pins.Path == "" {
		return
	}
	defer ps.pair.tracking.sweep(ps.log)
	entries, err := os.ReadDir(ps.pins.Pairs())
	if err != nil {
		ps.log.Warn("the programs of an earlier start stay pinned", "error", err)
		return
	}
	own, waited := strconv.FormatUint(uint64(ps.pair.id), 10), false
	for _, e := range entries {
		if e.Name() == own {
			continue
		}
		if !waited {
			err, waited = waitForPackets(), true
		}
		if err == nil {
			err = os.RemoveAll(filepath.Join(ps.pins.Pairs(), e.Name()))
		}
		if err != nil {
			ps.log.Warn("the programs of an earlier start stay pinned", "error", err)
			return
		}
	}
}

// waitForPackets returns when every packet that a program holds now has left it: the kernel waits for an RCU grace
// period before a change of a map of maps returns.
func waitForPackets() error {
	inner := &ebpf.MapSpec{Name: "grace", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	m, err := ebpf.NewMap(inner)
	if err != nil {
		return kernel.Explain("wait for packets", err)
	}
	defer func() { _ = m.Close() }()
	outer, err := ebpf.NewMap(&ebpf.MapSpec{Name: "grace", Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 1,
		InnerMap: inner})
	if err != nil {
		return kernel.Explain("wait for packets", err)
	}
	defer func() { _ = outer.Close() }()
	return kernel.Explain("wait for packets", outer.Put(uint32(0), m))
}
