// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader/kernel"
)

// anothersProgram passes everything, as somebody else's does.
func anothersProgram(t *testing.T) *ebpf.Program {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "another", Type: ebpf.SchedCLS, License: "Apache-2.0",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func egressLink(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func filtersOf(t *testing.T, l netlink.Link) (names []string) {
	t.Helper()
	all, err := netlink.FilterList(l, netlink.HANDLE_MIN_EGRESS)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		names = append(names, f.(*netlink.BpfFilter).Name)
	}
	return names
}

func hasClsact(t *testing.T, l netlink.Link) bool {
	t.Helper()
	all, err := netlink.QdiscList(l)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range all {
		if q.Type() == "clsact" {
			return true
		}
	}
	return false
}

// Before tcx the program is a filter of clsact. One that another made, and what is in it, stays as it is: also a filter
// at the priority that ours would have.
func TestEgressFilterLeavesOthersAlone(t *testing.T) {
	name, pins := testVeth(t), testPins(t)
	l := egressLink(t, name)
	index := l.Attrs().Index
	if err := netlink.QdiscAdd(clsactOf(l)); err != nil {
		t.Fatal(err)
	}
	theirs := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.HANDLE_MIN_EGRESS, Handle: egressHandle,
			Priority: egressPriority, Protocol: unix.ETH_P_ALL}, Fd: anothersProgram(t).FD(),
		Name: "another", DirectAction: true}
	if err := netlink.FilterAdd(theirs); err != nil {
		t.Fatal(err)
	}
	var before uint32
	for range 2 { // the second is a start anew
		d := openTest(t, Options{Pins: pins})
		for range 2 {
			if err := os.MkdirAll(d.pins.Egress(), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := d.filterEgress(index); err != nil {
				t.Fatal(err)
			}
			if names := filtersOf(t, l); len(names) != 2 || names[0] != "another" || names[1] != egressFilter {
				t.Fatalf("filters: %v", names)
			}
		}
		own, err := kernel.ProgramID(d.egress)
		if err != nil {
			t.Fatal(err)
		}
		if b := ourFilter(l); b == nil || uint32(b.Id) != own || own == before {
			t.Errorf("the filter is %+v, want program %d, which is not %d", b, own, before)
		}
		before = own
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := DetachPins(pins); err != nil {
		t.Fatal(err)
	}
	if names := filtersOf(t, l); len(names) != 1 || names[0] != "another" || !hasClsact(t, l) {
		t.Errorf("after detach: filters %v, clsact %t", names, hasClsact(t, l))
	}
}

// A clsact that was made for the filter goes with it, unless somebody uses it by then.
func TestEgressTakesItsOwnClsactAway(t *testing.T) {
	for _, used := range []bool{false, true} {
		name, pins := testVeth(t), testPins(t)
		l := egressLink(t, name)
		d := openTest(t, Options{Pins: pins})
		if err := os.MkdirAll(d.pins.Egress(), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := d.filterEgress(l.Attrs().Index); err != nil {
			t.Fatal(err)
		}
		if used {
			theirs := &netlink.BpfFilter{
				FilterAttrs: netlink.FilterAttrs{LinkIndex: l.Attrs().Index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1,
					Priority: 1, Protocol: unix.ETH_P_ALL}, Fd: anothersProgram(t).FD(), Name: "another", DirectAction: true}
			if err := netlink.FilterAdd(theirs); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.SyncEgress(nil); err != nil {
			t.Fatal(err)
		}
		if hasClsact(t, l) != used || ourFilter(l) != nil {
			t.Errorf("used by another %t: clsact is there %t, our filter %v", used, hasClsact(t, l), ourFilter(l))
		}
		if entries, err := os.ReadDir(d.pins.Egress()); err != nil || len(entries) != 0 {
			t.Errorf("pins are left: %v, %v", entries, err)
		}
		_ = netlink.LinkDel(l)
	}
}

// With tcx another's program stays, a start anew replaces ours and a detach takes it away.
func TestEgressByLink(t *testing.T) {
	name, pins := testVeth(t), testPins(t)
	index := egressLink(t, name).Attrs().Index
	theirs, err := link.AttachTCX(
		link.TCXOptions{Interface: index, Program: anothersProgram(t), Attach: ebpf.AttachTCXEgress})
	if err != nil {
		t.Skipf("left out: this kernel has no tcx: %v", err)
	}
	defer func() { _ = theirs.Close() }()
	programs := func() (n int) {
		t.Helper()
		r, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: ebpf.AttachTCXEgress})
		if err != nil {
			t.Fatal(err)
		}
		return len(r.Programs)
	}
	var linkID link.ID
	for i := range 2 {
		d := openTest(t, Options{Pins: pins})
		for range 2 {
			if err := d.SyncEgress([]string{name, "no-such-device0"}); err != nil {
				t.Fatal(err)
			}
		}
		l, err := link.LoadPinnedLink(filepath.Join(d.pins.Egress(), linkPin(index, name)), nil)
		if err != nil {
			t.Fatal(err)
		}
		info, err := l.Info()
		if err != nil {
			t.Fatal(err)
		}
		own, err := kernel.ProgramID(d.egress)
		if err != nil {
			t.Fatal(err)
		}
		if uint32(info.Program) != own || i > 0 && info.ID != linkID || programs() != 2 {
			t.Errorf("start %d: link %d has program %d, want link %d and program %d of 2, there are %d", i, info.ID,
				info.Program, linkID, own, programs())
		}
		linkID = info.ID
		_ = l.Close()
		if names, err := d.Egress(); err != nil || len(names) != 1 || names[0] != name {
			t.Errorf("egress: %v, %v", names, err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := DetachPins(pins); err != nil {
		t.Fatal(err)
	}
	if n := programs(); n != 1 {
		t.Errorf("after detach there are %d programs, want another's", n)
	}
}
