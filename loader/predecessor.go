// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/migrate"
	"github.com/spillway/spillway/loader/pins"
)

// openPredecessor opens the dataplane of another layout that decides.
func openPredecessor(p pins.Folder, number uint64) (*migrate.Predecessor, error) {
	if old, err := migrate.Open(p, number); old != nil || err != nil {
		return old, err
	}
	d, err := adopt(pins.Folder{Path: p.Path, Of: number})
	if err != nil {
		return nil, err
	}
	c := d.Control()
	old := &migrate.Predecessor{Layout: number, Mode: c.Mode, Known: true, Bypasses: map[string]uint64{},
		Source: sameShape{d}}
	all, err := d.Generations()
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	for _, g := range all {
		switch g.Role {
		case RoleStable:
			old.Stable = &migrate.Resident{Number: g.Number, Digest: g.Digest}
		case RolePrevious:
			old.Previous = &migrate.Resident{Number: g.Number, Digest: g.Digest}
		}
	}
	if c.Stable != bpf.SlotEmpty && old.Stable == nil {
		old.Known = false
	}
	host, err := d.Host()
	if err == nil && host != nil {
		for _, s := range host.Services {
			old.Bypasses[s.Name] = uint64(d.ServiceBypass(s.ID))
		}
	}
	return old, nil
}

// sameShape is a predecessor whose maps are of this build's shape.
type sameShape struct{ d *Dataplane }

func (s sameShape) Seed() [2]uint64 { return s.d.Words.at.Seed }
func (s sameShape) Close() error    { return s.d.Close() }

func (s sameShape) Bans() (map[bpf.Prefix6Key]bpf.Ban, error) {
	if s.d.BanEpoch() == 0 {
		return nil, nil
	}
	return s.d.allBans()
}

func (s sameShape) Vouched() (map[bpf.VouchedKey]uint64, error) {
	all := map[bpf.VouchedKey]uint64{}
	err := kernel.EachRow(s.d.maps[bpf.DataplaneMapVouched], func(k bpf.VouchedKey, end uint64) { all[k] = end })
	return all, kernel.Explain("read the vouched sources", err)
}

func (s sameShape) Flows(visit func(bpf.FlowKey, bpf.Flow)) error {
	return kernel.EachRow(s.d.maps[bpf.DataplaneMapFlows],
		func(name bpf.FlowName, f bpf.Flow) { visit(name.Key(&f), f) })
}

// Predecessor returns the dataplane that decides while this one is made beside it; nil when this one decides.
func (d *Dataplane) Predecessor() *migrate.Predecessor { return d.before }

// CarryOver copies what a predecessor knows and the disk does not: the key of all hashes, bans, vouches, bypasses of
// services, and connections that are blocked. The host file and the generations are published already, so services have
// their numbers. Connections that pass need not be copied: no new block begins in the middle of one.
func (d *Dataplane) CarryOver() error {
	if d.before == nil {
		return nil
	}
	d.Words.setSeed(d.before.Seed())
	if old, ok := d.before.Source.(*migrate.Rootless); ok && !d.Bypass().Active() {
		d.SetBypass(Deadline(atomic.LoadUint64(old.Bypass())))
	}
	n, err := migrate.CopyBans(d.before, d.maps[bpf.DataplaneMapBans])
	if err != nil {
		return err
	}
	if n > 0 {
		if err := d.SettleBans(); err != nil {
			return err
		}
	}
	last, err := migrate.CopyVouched(d.before, d.maps[bpf.DataplaneMapVouched])
	if err != nil {
		return err
	}
	d.Words.at.VouchedUntilNs = max(d.Words.at.VouchedUntilNs, last) // nobody reads it yet
	host, err := d.Host()
	if err != nil {
		return err
	}
	if host != nil {
		for _, s := range host.Services {
			until := Deadline(d.before.Bypasses[s.Name])
			if !until.Active() {
				until = 0
			}
			d.SetServiceBypass(s.ID, until)
		}
	}
	return migrate.CopyBlocked(d.before, d.maps[bpf.DataplaneMapFlows], &d.Words.at.NameKeys)
}

// TakeOver puts this dataplane in force by one store, and then takes the one before it away. For a predecessor without
// a root it changes each link once. Whatever moment it is killed at, one of the two decides, whole, and the next start
// goes on.
func (d *Dataplane) TakeOver() error {
	if err := d.putInForce(); err != nil {
		return err
	}
	return errors.Join(d.finish(), d.pins.KeepOwner())
}

// finish does what is left of an upgrade once this dataplane is in force.
func (d *Dataplane) finish() error {
	if d.pins.Path == "" {
		return nil
	}
	if err := migrate.TakeLinks(d.pins, d.Program()); err != nil {
		return err
	}
	if d.before == nil {
		d.before = d.left()
	}
	if d.before != nil {
		// those that it blocked since, too
		if err := migrate.CopyBlocked(d.before, d.maps[bpf.DataplaneMapFlows], &d.Words.at.NameKeys); err != nil {
			d.log.Warn("connections that were blocked in the last moment before the upgrade may go on", "error", err)
		}
		if err := d.before.Close(); err != nil {
			d.log.Warn("cannot close the maps of the layout before", "error", err)
		}
		if old := d.Leave(); old != nil {
			d.spent = old
		}
		d.before = nil
	}
	d.sweepLayouts()
	return nil
}

// left opens what a start left that was killed after its store, nil when there is nothing to read.
func (d *Dataplane) left() *migrate.Predecessor {
	all, err := d.pins.Layouts()
	if err != nil {
		return nil
	}
	for _, number := range slices.Backward(all) {
		if number < pins.Layout && pins.TakesOver(number) {
			old, _ := openPredecessor(d.pins, number) // what is half removed has nothing to say
			return old
		}
	}
	return nil
}

// sweepLayouts removes the folders of earlier layouts: nothing they pin is in force any more. A later layout's is left
// alone.
func (d *Dataplane) sweepLayouts() {
	all, err := d.pins.Layouts()
	if err != nil {
		d.log.Warn("an earlier layout stays pinned", "error", err)
		return
	}
	waited := false
	for _, number := range all {
		if number == pins.Layout {
			continue
		}
		folder := pins.Folder{Path: d.pins.Path, Of: number}.Base()
		if number > pins.Layout {
			d.log.Warn("the folder of a later layout is left alone", "folder", folder)
			continue
		}
		if !waited {
			err, waited = waitForPackets(), true
		}
		if err == nil {
			err = os.RemoveAll(folder)
		}
		if err != nil {
			d.log.Warn("an earlier layout stays pinned", "folder", folder, "error", err)
		}
	}
}

// meet finds out who decides. It sets before when that is an earlier layout, and then begins anew: what is left of an
// upgrade that was cut short is not in force, and is taken away.
func (d *Dataplane) meet() error {
	if d.pins.Path == "" {
		return nil
	}
	number, err := d.pins.InForce(d.Root)
	if err != nil || number == 0 || number == pins.Layout {
		return err
	}
	if !pins.TakesOver(number) {
		return &pins.ForeignError{Folder: d.pins.Path, Layout: number}
	}
	before, err := openPredecessor(d.pins, number)
	if errors.Is(err, kernel.ErrNotPinned) {
		return nil // the root's word is all that is left of it
	}
	if err != nil {
		return fmt.Errorf("read the dataplane of layout %d, which goes on: %w", number, err)
	}
	if err := os.RemoveAll(d.pins.Base()); err != nil {
		return errors.Join(kernel.Explain("take away what an earlier upgrade left", err), before.Close())
	}
	d.before = before
	if old, ok := d.before.Source.(*migrate.Rootless); ok {
		d.Join(old) // an agent that builds is alive
	}
	d.warn(d.before)
	return nil
}

// warn says what a change of links may do.
func (d *Dataplane) warn(p *migrate.Predecessor) {
	d.log.Info("a dataplane of an earlier layout decides; this build's is made beside it", "layout", p.Layout, "own",
		pins.Layout)
	for _, name := range p.Links {
		d.log.Warn("the link of an interface is updated, this once: some cards (bnxt, igc) close and open, virtio_net stops for a moment",
			"interface", name)
	}
}
