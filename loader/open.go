// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/migrate"
	"github.com/spillway/spillway/loader/pins"
	"github.com/spillway/spillway/loader/root"
)

// Options of Open. The zero value pins nothing and uses the default capacities.
type Options struct {
	// Pins is the folder below bpffs that keeps everything; empty pins nothing (tests, tasting).
	Pins string
	// Capacity sets the sizes of maps that do not exist yet.
	Capacity config.Capacity
	// Lab makes an instance that is attached nowhere, for tests and for what the command shows: what the SYN of a service
	// with `local: false` says is believed, for here is nobody to ask.
	Lab bool
	// Log receives what a person should know; nil discards it.
	Log *slog.Logger
}

// Dataplane is all handles of the maps and programs in the kernel. Their methods may be called from several goroutines,
// except that changes (Build, Attach, Ban…) are the caller's to serialise.
type Dataplane struct {
	*Root
	*site
	*Words
	*Slots
	*Comparisons
	*CounterTable
	*BanTable
	*Vouches
	*FlowTable
	*Links
	*Programs

	before   *migrate.Predecessor // decides until TakeOver
	spent    root.Switch          // its words stay mapped: the heartbeat's thread may be about to store
	adjust   func(*bpf.Settings)
	warnings []string
}

// Open adopts what is pinned, creates what is missing, and puts this version's dataplane program behind the root
// program; where Predecessor is not nil, that is left to TakeOver. It attaches nothing. Without a dataplane nothing is
// lost: what enforces goes on, and a host without any passes everything. Errors: ErrForeignABI, ErrPermission,
// ErrUnsupported, ErrStale.
func Open(o Options) (*Dataplane, error) { return open(o, nil) }

// open is Open; adjust, if any, changes the settings that the programs are loaded with.
func open(o Options, adjust func(*bpf.Settings)) (*Dataplane, error) {
	d := newDataplane(&site{pins: pins.Folder{Path: o.Pins}, log: o.Log, capacity: o.Capacity})
	d.adjust, d.lab = adjust, o.Lab
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.capacity == (config.Capacity{}) {
		d.capacity = config.DefaultHost().Capacity
	}
	if err := d.pins.Prepare(); err != nil {
		return nil, err
	}
	if err := ask(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := errors.Join(d.load(), d.pins.KeepOwner()); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := d.noteInterfaces(); err != nil {
		d.log.Warn("what the interfaces are is not noted", "error", err)
	}
	return d, nil
}

// Adopt opens what is pinned and loads no program: the way of the command line when no agent answers. ErrNotPinned
// when there is nothing, ErrForeignABI (a *ForeignError) when a dataplane of another layout decides: OpenRoot reads its
// root.
func Adopt(folder string) (*Dataplane, error) {
	p := pins.Folder{Path: folder}
	r, err := OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	number, err := p.InForce(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if number != 0 && number != pins.Layout {
		return nil, &pins.ForeignError{Folder: folder, Layout: number}
	}
	return adopt(p)
}

func adopt(p pins.Folder) (*Dataplane, error) {
	d := newDataplane(&site{pins: p, log: slog.New(slog.DiscardHandler)})
	if err := d.pins.Check(); err != nil {
		return nil, err
	}
	spec, err := bpf.LoadDataplane()
	if err != nil {
		return nil, fmt.Errorf("read the embedded dataplane: %w", err)
	}
	if d.Root, err = OpenRoot(p.Path); err != nil {
		return nil, err
	}
	d.root = d.Root.Root
	d.inner = innerSpecs(spec)
	d.maps = map[string]*ebpf.Map{}
	for name := range spec.Maps {
		if !isPinnedMap(spec.Maps[name]) {
			continue
		}
		m, err := ebpf.LoadPinnedMap(d.pins.MapPath(name), nil)
		if err != nil {
			return nil, errors.Join(d.pins.ExplainMissing(name, err), d.Close())
		}
		d.maps[name] = m
		if err := kernel.CheckMap(spec.Maps[name], m); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	d.capacity = d.pinnedCapacity()
	if d.Words.words, err = mapWords(d.maps[bpf.DataplaneMapWords]); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Close releases handles and mappings. Everything pinned stays and works on, but for what never took over.
func (d *Dataplane) Close() error {
	var errs []error
	if d.before != nil {
		errs = append(errs, d.before.Close(), kernel.Explain("take away what did not take over", os.RemoveAll(d.pins.Base())))
		d.before = nil
	}
	if d.Words.words != nil {
		errs = append(errs, d.Words.words.close())
		d.Words.words = nil
	}
	for _, m := range d.maps {
		errs = append(errs, m.Close())
	}
	errs = append(errs, d.held.close())
	if d.pair != nil {
		errs = append(errs, d.pair.close())
	}
	for _, p := range []*ebpf.Program{d.asks, d.egress} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	errs = append(errs, d.tracker.close())
	if d.Root != nil {
		errs = append(errs, d.Root.Close())
	}
	if d.spent != nil {
		errs = append(errs, d.spent.Unmap())
	}
	d.maps, d.pair, d.asks, d.egress, d.tracker, d.Root, d.root = nil, nil, nil, nil, nil, nil, nil
	return errors.Join(errs...)
}

// SetBypass is that of Words: the root alone would not tell that packets passed unseen.
func (d *Dataplane) SetBypass(until Deadline) { d.Words.SetBypass(until) }

// Beat is that of Words, for the same reason.
func (d *Dataplane) Beat() { d.Words.Beat() }

// Warnings tells what Open could not do as asked, such as a new capacity of a map that is in use.
func (d *Dataplane) Warnings() []string { return d.warnings }

func (d *Dataplane) load() error {
	spec, err := bpf.LoadDataplane()
	if err != nil {
		return fmt.Errorf("read the embedded dataplane: %w", err)
	}
	d.inner = innerSpecs(spec)
	if d.root, err = root.Load(d.pins, d.log); err != nil {
		return err
	}
	d.Root = &Root{Root: d.root, folder: d.pins}
	if err := d.meet(); err != nil {
		return err
	}
	if d.pins.Path != "" {
		if err := pins.MakeFolders(d.pins.Maps(), d.pins.Pairs()); err != nil {
			return err
		}
	}
	d.openTracker()
	if err := d.size(spec); err != nil {
		return err
	}
	options := ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{bpf.DataplaneMapRoot: d.root.WordsMap()}}
	if d.tracker != nil {
		options.MapReplacements[bpf.DataplaneMapConntracks] = d.tracker.questions
	}
	if d.pins.Path != "" {
		options.Maps.PinPath = d.pins.Maps()
		for _, m := range spec.Maps {
			if isPinnedMap(m) {
				m.Pinning = ebpf.PinByName
			}
		}
	}
	c, err := ebpf.NewCollectionWithOptions(spec, options)
	if errors.Is(err, ebpf.ErrMapIncompatible) {
		return fmt.Errorf("adopt pinned maps below %s: %w: %v: run `spillway detach`, then start again", d.pins.Maps(),
			kernel.ErrForeignABI, err)
	}
	if err != nil {
		return kernel.Explain("load the dataplane", err)
	}
	if d.pair, err = takePair(c, d.tracker); err != nil {
		c.Close()
		return err
	}
	d.maps = c.Maps
	d.asks, d.egress = c.DetachProgram(bpf.DataplaneProgSpillwayAsk), c.DetachProgram(bpf.DataplaneProgSpillwayEgress)
	if d.Words.words, err = mapWords(d.maps[bpf.DataplaneMapWords]); err != nil {
		return err
	}
	if d.before != nil {
		return nil // whoever opened it fills it, and then calls TakeOver
	}
	d.holdSlots()
	return d.TakeOver()
}
