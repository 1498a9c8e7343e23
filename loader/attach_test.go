// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/kernel"
)

// testVeth makes a pair of this test's own: only its one end gets the program, and nothing is routed over it.
func testVeth(t *testing.T) string {
	t.Helper()
	return testVethAt(t, 0)
}

// testVethAt is testVeth with a number; 0 leaves it to the kernel.
func testVethAt(t *testing.T, index int) string {
	t.Helper()
	needKernel(t)
	name := fmt.Sprintf("spw%d", os.Getpid()%1e6)
	veth := func() netlink.Link {
		return &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, Index: index}, PeerName: name + "p"}
	}
	if err := netlink.LinkAdd(veth()); err != nil {
		t.Fatalf("make a veth pair: %v", err)
	}
	t.Cleanup(func() {
		if l, err := netlink.LinkByName(name); err == nil {
			_ = netlink.LinkDel(l)
		}
	})
	return name
}

func TestAttachIsPinnedAndAdopted(t *testing.T) {
	name, pins := testVeth(t), testPins(t)
	first := openTest(t, Options{Pins: pins})
	if _, err := first.Attach("no-such-device", config.AttachNative); !errors.Is(err, ErrNoDevice) {
		t.Errorf("attach to nothing: %v", err)
	}
	a, err := first.Attach(name, config.AttachNative)
	if err != nil {
		t.Fatal(err)
	}
	if a.State != StateAttached || a.Mode != string(config.AttachNative) || a.Interface != name {
		t.Errorf("attached: %+v", a)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	second := openTest(t, Options{Pins: pins})
	again, err := second.Attach(name, config.AttachNative)
	if err != nil {
		t.Fatal(err)
	}
	if again != a {
		t.Errorf("a second start touched the attachment:\n was %+v\n  is %+v", a, again)
	}
	if err := second.DetachInterface(a.Pin); err != nil {
		t.Fatal(err)
	}
	if all, err := second.Attachments(); err != nil || len(all) != 0 {
		t.Errorf("after detaching: %+v, %v", all, err)
	}
}

// A device comes back with another number, as most do, or with the same one, as systemd and containers can ask for. Its
// severed link is gone then: it would stand in the way of the next pin, and in status as an attachment of its own.
func TestA35DeviceThatComesBackIsAttachedAgain(t *testing.T) {
	for _, same := range []bool{false, true} {
		t.Run(fmt.Sprintf("same number %v", same), func(t *testing.T) { deviceComesBack(t, same) })
	}
}

func deviceComesBack(t *testing.T, same bool) {
	index := 0
	if same {
		index = 1<<24 + os.Getpid() // nobody else has it, also in between
	}
	name := testVethAt(t, index)
	d := openTest(t, Options{Pins: testPins(t)})
	if _, err := d.Attach(name, config.AttachNative); err != nil {
		t.Fatal(err)
	}
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkDel(l); err != nil {
		t.Fatal(err)
	}
	all, err := d.Attachments()
	if err != nil || len(all) != 1 || all[0].State != StateSevered {
		t.Errorf("with the device gone: %+v, %v", all, err)
	}
	if drifts, err := d.VerifyWiring(); err != nil || len(drifts) == 0 {
		t.Errorf("the watchdog did not see it: %v", err)
	}
	testVethAt(t, index)
	a, err := d.Attach(name, config.AttachNative)
	if err != nil || a.State != StateAttached {
		t.Errorf("with the device back: %+v, %v", a, err)
	}
	if all, err = d.Attachments(); err != nil || len(all) != 1 || all[0].State != StateAttached ||
		(all[0].Index == l.Attrs().Index) != same {
		t.Errorf("with the device back, the links are %+v, %v", all, err)
	}
}

func TestForeignProgramIsLeftAlone(t *testing.T) {
	name := testVeth(t)
	d := openTest(t, Options{Pins: testPins(t)})
	other, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "someone_elses", Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	dev, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: other, Interface: dev.Attrs().Index})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, err = d.Attach(name, config.AttachNative)
	if !errors.Is(err, ErrForeignProgram) {
		t.Fatalf("attach beside another program: %v", err)
	}
	t.Log(err)
	info, err := l.Info()
	if err != nil || info.XDP().Ifindex == 0 {
		t.Errorf("the other program's link was touched: %v", err)
	}
}

func TestDetachLeavesNothing(t *testing.T) {
	name, pins := testVeth(t), testPins(t)
	d := openTest(t, Options{Pins: pins})
	if _, err := d.Attach(name, config.AttachNative); err != nil {
		t.Fatal(err)
	}
	publish(t, d, testHost(), testBundle("198.51.100.0/24"))
	if err := d.Detach(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(pins); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pin folder after detach: %v", err)
	}
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if xdp := l.Attrs().Xdp; xdp != nil && xdp.Attached {
		t.Error("a program is still attached")
	}
}

// The pins vanish under a running agent. Every further try must refuse before it touches the interface.
func TestAttachWithoutPinsTouchesNothing(t *testing.T) {
	name, pins := testVeth(t), testPins(t)
	d := openTest(t, Options{Pins: pins})
	if err := DetachPins(pins); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Attach(name, config.AttachNative); !errors.Is(err, kernel.ErrNotPinned) {
		t.Errorf("attach without pins: %v", err)
	}
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if xdp := l.Attrs().Xdp; xdp != nil && xdp.Attached {
		t.Error("a program is attached that nothing keeps")
	}
}

// A crash in the middle of replacing a root program leaves links that obey nobody. The next start mends them.
func TestLinksGetTheRootOfTheNextStart(t *testing.T) {
	name, pins := testVeth(t), testPins(t)
	first := openTest(t, Options{Pins: pins})
	before, err := first.Attach(name, config.AttachNative)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(pins, "root", "program")); err != nil {
		t.Fatal(err)
	}
	second := openTest(t, Options{Pins: pins})
	after, err := second.Attach(name, config.AttachNative)
	if err != nil {
		t.Fatal(err)
	}
	if after.LinkID != before.LinkID || after.ProgramID == before.ProgramID {
		t.Errorf("was %+v, is %+v: want the same link with the new root", before, after)
	}
	if drifts, err := second.VerifyWiring(); err != nil || len(drifts) > 0 {
		t.Errorf("wiring: %v, %v", drifts, err)
	}
}

// F20: a device that is renamed keeps its link, under whichever of its names it is asked for.
func TestF20RenamedDeviceKeepsItsLink(t *testing.T) {
	name := testVeth(t)
	d := openTest(t, Options{Pins: testPins(t)})
	before, err := d.Attach(name, config.AttachNative)
	if err != nil {
		t.Fatal(err)
	}
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	now := name + ".7"
	if err := netlink.LinkSetName(l, now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(l) })
	if all, err := d.Attachments(); err != nil || len(all) != 1 || all[0] != before {
		t.Errorf("%+v, %v, was %+v", all, err, before)
	}
	if again, err := d.Attach(now, config.AttachNative); err != nil || again != before {
		t.Errorf("under its new name: %+v, %v", again, err)
	}
	// A VLAN device has a dot in its name, and bpffs takes none.
	if err := d.DetachInterface(before.Pin); err != nil {
		t.Fatal(err)
	}
	if a, err := d.Attach(now, config.AttachNative); err != nil || !a.Names(now) {
		t.Errorf("%+v, %v", a, err)
	}
}
