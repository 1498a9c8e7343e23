// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// An interface that the host file in force is the first to name is one until somebody says that it is not, also for an
// agent that starts meanwhile and has not said anything yet.
func TestAFreshInterface(t *testing.T) {
	name, pins := testVeth(t), testPins(t)
	dev, err := DeviceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	wants := func(what string, d *Dataplane, want bool) {
		t.Helper()
		var in bpf.Interface
		if err := d.Links.maps[bpf.DataplaneMapInterfaces].Lookup(uint32(dev.Index), &in); err != nil {
			t.Fatal(err)
		}
		if got := in.Flags&uint32(bpf.InterfaceFresh) != 0; got != want || in.Flags&uint32(bpf.InterfacePartialSums) == 0 {
			t.Errorf("%s: flags %#x", what, in.Flags)
		}
	}
	d := openTest(t, Options{Pins: pins})
	if err := d.SetFresh([]string{"nowhere0", name}); err != nil {
		t.Fatal(err)
	}
	at, err := d.Attach(name, config.AttachNative)
	if err != nil {
		t.Fatal(err)
	}
	wants("attached", d, true)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = openTest(t, Options{Pins: pins})
	wants("after a start", d, true)
	if err := d.SetFresh(nil); err != nil {
		t.Fatal(err)
	}
	wants("accepted", d, false)
	if err := d.SetFresh([]string{name}); err != nil {
		t.Fatal(err)
	}
	wants("attached already, perhaps under another name", d, false)
	if err := d.DetachInterface(at.Pin); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Attach(name, config.AttachNative); err != nil {
		t.Fatal(err)
	}
	wants("attached again", d, true)
}
