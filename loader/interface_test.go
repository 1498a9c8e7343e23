// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// What the dataplane knows of an interface comes with the attach, also with one that is adopted, stays over a rename,
// and goes with the detach.
func TestInterfacesAreNoted(t *testing.T) {
	name, pins := testVeth(t), testPins(t)
	d := openTest(t, Options{Pins: pins})
	a, err := d.Attach(name, config.AttachNative)
	if err != nil {
		t.Fatal(err)
	}
	want := func(what string, d *Dataplane) {
		t.Helper()
		var got bpf.Interface
		if err := d.maps[bpf.DataplaneMapInterfaces].Lookup(uint32(a.Index), &got); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if want := bpf.InterfacePartialSums | bpf.InterfaceNoTX; got.Flags != uint32(want) {
			t.Errorf("%s: flags %d of a veth", what, got.Flags)
		}
	}
	want("attached", d)
	m := d.maps[bpf.DataplaneMapInterfaces]
	if err := errors.Join(m.Delete(uint32(a.Index)), m.Put(uint32(1<<20), bpf.Interface{Flags: 1})); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}

	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetName(l, name+"r"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(l) })
	d = openTest(t, Options{Pins: pins})
	want("adopted, and renamed", d)
	m = d.maps[bpf.DataplaneMapInterfaces]
	var got bpf.Interface
	if err := m.Lookup(uint32(1<<20), &got); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("an interface that is gone: %+v, %v", got, err)
	}
	if err := d.DetachInterface(a.Pin); err != nil {
		t.Fatal(err)
	}
	if err := m.Lookup(uint32(a.Index), &got); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("detached: %+v, %v", got, err)
	}
}
