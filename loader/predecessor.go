// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
)

// Predecessor is the dataplane of an earlier layout that decides, while this build's is made beside it. It goes on to
// decide until TakeOver.
type Predecessor struct {
	Layout uint64
	Mode   bpf.Mode
	// Stable and Previous are what its generations were compiled from; nil for none. Where Known is false its slots could
	// not be read (up to layout 2 they had no pins, and opening them otherwise wants CAP_SYS_ADMIN).
	Known            bool
	Stable, Previous *GenerationInfo
	// Links are the interfaces whose link TakeOver changes, because their root program is not the one that stays for ever.
	// Some drivers close and open the card for that.
	Links []string

	bypasses map[string]Deadline // of services, by name; ended ones are not in it
	source
}

// source is what is read of a predecessor's maps.
type source interface {
	seed() [2]uint64
	bans() (map[bpf.Prefix6Key]bpf.Ban, error)
	vouched() (map[bpf.VouchedKey]uint64, error)
	flows(visit func(bpf.FlowKey, bpf.Flow)) error // visits connections
	close() error
}

// openPredecessor opens the dataplane of another layout that decides.
func (p pins) openPredecessor(number uint64) (*Predecessor, error) {
	switch number {
	case layoutRootless:
		return p.openRootless()
	case layout3Number:
		return p.openLayout3()
	}
	d, err := adopt(pins{p.folder, number})
	if err != nil {
		return nil, err
	}
	c := d.Control()
	old := &Predecessor{Layout: number, Mode: c.Mode, Known: true, bypasses: map[string]Deadline{},
		source: pinnedSource{d}}
	all, err := d.Generations()
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	for _, g := range all {
		switch g.Role {
		case RoleStable:
			old.Stable = &g
		case RolePrevious:
			old.Previous = &g
		}
	}
	if c.Stable != bpf.SlotEmpty && old.Stable == nil {
		old.Known = false
	}
	host, err := d.Host()
	if err == nil && host != nil {
		for _, s := range host.Services {
			if until := d.ServiceBypass(s.ID); until.Active() {
				old.bypasses[s.Name] = until
			}
		}
	}
	return old, nil
}

// pinnedSource is a predecessor whose maps are of this build's shape.
type pinnedSource struct{ d *Dataplane }

func (s pinnedSource) seed() [2]uint64 { return s.d.words.at.Seed }
func (s pinnedSource) close() error    { return s.d.Close() }

func (s pinnedSource) bans() (map[bpf.Prefix6Key]bpf.Ban, error) {
	if s.d.BanEpoch() == 0 {
		return nil, nil
	}
	return s.d.allBans()
}

func (s pinnedSource) vouched() (map[bpf.VouchedKey]uint64, error) {
	all := map[bpf.VouchedKey]uint64{}
	err := eachRow(s.d.maps[bpf.DataplaneMapVouched], func(k bpf.VouchedKey, end uint64) { all[k] = end })
	return all, explain("read the vouched sources", err)
}

func (s pinnedSource) flows(visit func(bpf.FlowKey, bpf.Flow)) error {
	return eachRow(s.d.maps[bpf.DataplaneMapFlows], visit)
}

// Predecessor returns the dataplane that decides while this one is made beside it; nil when this one decides.
func (d *Dataplane) Predecessor() *Predecessor { return d.before }

// CarryOver copies what a predecessor knows and the disk does not: the key of all hashes, bans, vouches, bypasses of
// services, and connections that are blocked. The host file and the generations are published already, so services have
// their numbers. Connections that pass need not be copied: no new block begins in the middle of one.
func (d *Dataplane) CarryOver() error {
	if d.before == nil {
		return nil
	}
	d.words.setSeed(d.before.seed())
	if old, ok := d.before.source.(*rootless); ok && !d.Bypass().Active() {
		d.SetBypass(Deadline(atomic.LoadUint64(&old.at.BypassUntilNs)))
	}
	bans, err := d.before.bans()
	if err != nil {
		return err
	}
	for key, ban := range bans {
		if err := d.maps[bpf.DataplaneMapBans].Put(key, ban); err != nil {
			return explain("carry over the ban of "+compile.FormatPrefix(key), err)
		}
	}
	if len(bans) > 0 {
		if err := d.SettleBans(); err != nil {
			return err
		}
	}
	vouched, err := d.before.vouched()
	if err != nil {
		return err
	}
	for key, end := range vouched {
		if err := d.maps[bpf.DataplaneMapVouched].Put(key, end); err != nil {
			return explain("carry over a vouched source", err)
		}
		d.words.at.VouchedUntilNs = max(d.words.at.VouchedUntilNs, end) // nobody reads it yet
	}
	host, err := d.Host()
	if err != nil {
		return err
	}
	if host != nil {
		for _, s := range host.Services {
			d.SetServiceBypass(s.ID, d.before.bypasses[s.Name])
		}
	}
	return d.copyBlocked(d.before.source)
}

// copyBlocked copies the connections that a predecessor blocks, as judged at another time: with its next packet each is
// scored again by what is in force then.
func (d *Dataplane) copyBlocked(from source) error {
	own := d.maps[bpf.DataplaneMapFlows]
	var blocked []bpf.FlowKey
	var values []bpf.Flow
	err := from.flows(func(key bpf.FlowKey, f bpf.Flow) {
		if f.Verdict == uint8(bpf.VerdictPass) {
			return
		}
		f.Epoch = ^uint32(0) // of no control word
		f.BanEpoch = ^uint32(0)
		blocked, values = append(blocked, key), append(values, f)
	})
	if err != nil {
		return explain("read the blocked connections", err)
	}
	for i, key := range blocked {
		err := own.Update(key, values[i], ebpf.UpdateNoExist)
		if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
			return explain("carry over a blocked connection", err)
		}
	}
	return nil
}

// TakeOver puts this dataplane in force by one store, and then takes the one before it away. For a predecessor without
// a root it changes each link once. Whatever moment it is killed at, one of the two decides, whole, and the next start
// goes on.
func (d *Dataplane) TakeOver() error {
	if err := d.putInForce(); err != nil {
		return err
	}
	return errors.Join(d.finish(), d.pins.keepOwner())
}

// finish does what is left of an upgrade once this dataplane is in force.
func (d *Dataplane) finish() error {
	if d.pins.folder == "" {
		return nil
	}
	if err := d.takeLinks(); err != nil {
		return err
	}
	if d.before == nil {
		d.before = d.left()
	}
	if d.before != nil {
		if err := d.copyBlocked(d.before.source); err != nil { // those that it blocked since, too
			d.log.Warn("connections that were blocked in the last moment before the upgrade may go on", "error", err)
		}
		if err := d.before.close(); err != nil {
			d.log.Warn("cannot close the maps of the layout before", "error", err)
		}
		if old := d.Root.old.Swap(nil); old != nil {
			d.spent = old
		}
		d.before = nil
	}
	d.sweepLayouts()
	return nil
}

// left opens what a start left that was killed after its store, nil when there is nothing to read.
func (d *Dataplane) left() *Predecessor {
	all, err := d.pins.layouts()
	if err != nil {
		return nil
	}
	for _, number := range slices.Backward(all) {
		if number < layout && takesOver(number) {
			old, _ := d.pins.openPredecessor(number) // what is half removed has nothing to say
			return old
		}
	}
	return nil
}

// sweepLayouts removes the folders of earlier layouts: nothing they pin is in force any more. A later layout's is left
// alone.
func (d *Dataplane) sweepLayouts() {
	all, err := d.pins.layouts()
	if err != nil {
		d.log.Warn("an earlier layout stays pinned", "error", err)
		return
	}
	waited := false
	for _, number := range all {
		if number == layout {
			continue
		}
		folder := pins{d.pins.folder, number}.base()
		if number > layout {
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
	if d.pins.folder == "" {
		return nil
	}
	number, err := d.pins.inForce(d.Root)
	if err != nil || number == 0 || number == layout {
		return err
	}
	if !takesOver(number) {
		return &ForeignError{Folder: d.pins.folder, Layout: number}
	}
	before, err := d.pins.openPredecessor(number)
	if errors.Is(err, ErrNotPinned) {
		return nil // the root's word is all that is left of it
	}
	if err != nil {
		return fmt.Errorf("read the dataplane of layout %d, which goes on: %w", number, err)
	}
	if err := os.RemoveAll(d.pins.base()); err != nil {
		return errors.Join(explain("take away what an earlier upgrade left", err), before.close())
	}
	d.before = before
	if old, ok := d.before.source.(*rootless); ok {
		d.Root.old.Store(old) // an agent that builds is alive
	}
	d.warn(d.before)
	return nil
}

// warn says what a change of links may do.
func (d *Dataplane) warn(p *Predecessor) {
	d.log.Info("a dataplane of an earlier layout decides; this build's is made beside it", "layout", p.Layout, "own",
		layout)
	for _, name := range p.Links {
		d.log.Warn("the link of an interface is updated, this once: some cards (bnxt, igc) close and open, virtio_net stops for a moment", "interface", name)
	}
}
