// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
)

// The program at the way out of an interface (bpf/egress.h) is there for services with `confirm: egress` alone. From
// Linux
// 6.6 on it is one of the programs of tcx, by a pinned link; before, a filter of the interface's clsact:
//
//	<pins>/v5/egress/<index>-<name>    the link
//	<pins>/v5/egress/filter-<index>    the program of the filter
//	<pins>/v5/egress/clsact-<index>    the clsact of that interface was made here, and goes with the filter
//
// What others have there stays as it is, and sees every packet: the program decides nothing.

// SyncEgress puts the program at the way out of these interfaces, and takes it away from all others. A program of a
// load of before is replaced. It changes nothing where all is as it should be.
func (ls *Links) SyncEgress(names []string) error {
	if ls.egress == nil {
		return nil
	}
	pins, indexes := map[string]bool{}, map[int]bool{}
	var errs []error
	for _, name := range names {
		dev, err := DeviceByName(name)
		if errors.Is(err, ErrNoDevice) {
			continue // the root program says so
		}
		if err == nil {
			pins[linkPin(dev.Index, name)], indexes[dev.Index] = true, true
			err = ls.attachEgress(dev.Index, name)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("note what leaves %s: %w", name, err))
		}
	}
	return errors.Join(append(errs, dropEgress(ls.pins.Egress(), func(pin string,
		index int) bool {
		return pins[pin] || indexes[index]
	}))...)
}

// Egress returns the names under which interfaces have the program at their way out, or their indexes.
func (ls *Links) Egress() (names []string, err error) {
	entries, err := os.ReadDir(ls.pins.Egress())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, kernel.Explain("list the links of egress", err)
	}
	for _, e := range entries {
		if number, marked := strings.CutPrefix(e.Name(), filterPin); marked {
			names = append(names, number)
		} else if !strings.HasPrefix(e.Name(), clsactPin) {
			names = append(names, nameOfPin(e.Name()))
		}
	}
	return names, nil
}

func (ls *Links) attachEgress(index int, name string) error {
	if ls.pins.Path != "" {
		if err := os.MkdirAll(ls.pins.Egress(), 0o700); err != nil {
			return kernel.Explain("make the pin folder of egress", err)
		}
	}
	pin := filepath.Join(ls.pins.Egress(), linkPin(index, name))
	if l, err := link.LoadPinnedLink(pin, nil); err == nil {
		defer func() { _ = l.Close() }()
		info, err := l.Info()
		if err == nil && info.TCX() != nil && int(info.TCX().Ifindex) == index {
			if id, err := kernel.ProgramID(ls.egress); err == nil && uint32(info.Program) == id {
				return nil
			}
			return kernel.Explain("replace the program of egress", l.Update(ls.egress))
		}
		if err := pins.Remove(pin); err != nil { // its device is gone, or of another network namespace
			return err
		}
	}
	l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: ls.egress, Attach: ebpf.AttachTCXEgress})
	if errors.Is(err, ebpf.ErrNotSupported) {
		return ls.filterEgress(index)
	}
	if err != nil {
		return kernel.Explain("attach to egress", err)
	}
	defer func() { _ = l.Close() }()
	return kernel.Explain("pin the link of egress", errors.Join(l.Pin(pin), ls.pins.KeepOwner()))
}

// A filter of ours has this name and handle; its priority is the first that is free.
const (
	egressFilter   = bpf.DataplaneProgSpillwayEgress
	egressHandle   = 0x5350
	egressPriority = 10
	clsactPin      = "clsact-"
	filterPin      = "filter-"
)

// filterEgress puts the program into the interface's clsact, which it makes where there is none.
func (ls *Links) filterEgress(index int) error {
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return fmt.Errorf("look at the interface: %w", err)
	}
	if err := ls.makeClsact(l); err != nil {
		return err
	}
	filters, err := netlink.FilterList(l, netlink.HANDLE_MIN_EGRESS)
	if err != nil {
		return fmt.Errorf("list the filters of egress: %w", err)
	}
	own, err := kernel.ProgramID(ls.egress)
	if err != nil {
		return err
	}
	taken, priority := map[uint16]bool{}, uint16(0)
	for _, f := range filters {
		if b, ok := f.(*netlink.BpfFilter); ok && isOurs(b) {
			if uint32(b.Id) == own {
				return nil
			}
			priority = b.Priority
		}
		taken[f.Attrs().Priority] = true
	}
	for p := uint16(egressPriority); priority == 0; p++ {
		if !taken[p] {
			priority = p
		}
	}
	err = netlink.FilterReplace(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.HANDLE_MIN_EGRESS, Handle: egressHandle,
			Priority: priority, Protocol: unix.ETH_P_ALL},
		Fd: ls.egress.FD(), Name: egressFilter, DirectAction: true,
	})
	if err != nil {
		return kernel.Explain("add the filter of egress", err)
	}
	return ls.markFilter(index)
}

// markFilter pins the program of a filter, so that a detach finds it.
func (ls *Links) markFilter(index int) error {
	if ls.pins.Path == "" {
		return nil
	}
	pin := filepath.Join(ls.pins.Egress(), filterPin+strconv.Itoa(index))
	if err := pins.Remove(pin); err != nil {
		return err
	}
	p, err := ls.egress.Clone()
	if err != nil {
		return kernel.Explain("remember the filter of egress", err)
	}
	defer func() { _ = p.Close() }()
	return kernel.Explain("remember the filter of egress", errors.Join(p.Pin(pin), ls.pins.KeepOwner()))
}

func isOurs(b *netlink.BpfFilter) bool {
	return strings.HasPrefix(b.Name, egressFilter) && b.Handle == egressHandle
}

func clsactOf(l netlink.Link) *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.Attrs().Index,
		Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
}

// makeClsact adds a clsact where there is none, and remembers that by a pin.
func (ls *Links) makeClsact(l netlink.Link) error {
	all, err := netlink.QdiscList(l)
	if err != nil {
		return fmt.Errorf("list the qdiscs: %w", err)
	}
	for _, q := range all {
		if q.Type() == "clsact" {
			return nil
		}
	}
	if err := netlink.QdiscAdd(clsactOf(l)); errors.Is(err, unix.EEXIST) {
		return nil // somebody was faster
	} else if err != nil {
		return kernel.Explain("add a clsact", err)
	}
	if ls.pins.Path == "" {
		return nil
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "clsact", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return kernel.Explain("remember a clsact", err)
	}
	defer func() { _ = m.Close() }()
	err = m.Pin(filepath.Join(ls.pins.Egress(), clsactPin+strconv.Itoa(l.Attrs().Index)))
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return kernel.Explain("remember a clsact", err)
}

// ourFilter finds our filter on an interface, nil when there is none.
func ourFilter(l netlink.Link) *netlink.BpfFilter {
	filters, err := netlink.FilterList(l, netlink.HANDLE_MIN_EGRESS)
	if err != nil {
		return nil // no clsact there
	}
	for _, f := range filters {
		if b, ok := f.(*netlink.BpfFilter); ok && isOurs(b) {
			return b
		}
	}
	return nil
}

// unfilterEgress takes the filter away that a mark names, and the clsact if it was made here and nobody else uses it.
func unfilterEgress(folder string, index int) error {
	l, err := netlink.LinkByIndex(index)
	if err == nil {
		if b := ourFilter(l); b != nil {
			if err := netlink.FilterDel(b); err != nil {
				return kernel.Explain("remove the filter of egress from "+l.Attrs().Name, err)
			}
		}
		mark := filepath.Join(folder, clsactPin+strconv.Itoa(index))
		if _, err := os.Lstat(mark); err == nil && isIdle(l) {
			if err := netlink.QdiscDel(clsactOf(l)); err != nil {
				return kernel.Explain("remove the clsact of "+l.Attrs().Name, err)
			}
		}
	}
	return errors.Join(pins.Remove(filepath.Join(folder, clsactPin+strconv.Itoa(index))),
		pins.Remove(filepath.Join(folder, filterPin+strconv.Itoa(index))))
}

// isIdle reports whether a clsact has no filter.
func isIdle(l netlink.Link) bool {
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		if left, err := netlink.FilterList(l, parent); err != nil || len(left) > 0 {
			return false
		}
	}
	return true
}

// dropEgress takes the program away from all interfaces that a folder of pins names, but for those that keep it.
func dropEgress(folder string, keeps func(pin string, index int) bool) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) || isSymlink(folder) {
		return nil
	}
	if err != nil {
		return kernel.Explain("list the links of egress", err)
	}
	var errs []error
	for _, e := range entries {
		name := e.Name()
		number, marked := strings.CutPrefix(name, filterPin)
		switch {
		case marked:
			if index, err := strconv.Atoi(number); err == nil && !keeps("", index) {
				errs = append(errs, unfilterEgress(folder, index))
			}
		case strings.HasPrefix(name, clsactPin), keeps(name, 0):
		default:
			errs = append(errs, detachLink(filepath.Join(folder, name)))
		}
	}
	return errors.Join(errs...)
}
