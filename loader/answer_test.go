// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/spillway/spillway/config"
)

// A device whose frames have no Ethernet header is refused by name, native and generic: nothing could be read there.
func TestLayer3DevicesAreRefused(t *testing.T) {
	needKernel(t)
	name := fmt.Sprintf("spt%d", os.Getpid()%1e6)
	tun := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: name}, Mode: netlink.TUNTAP_MODE_TUN,
		Flags: netlink.TUNTAP_DEFAULTS}
	if err := netlink.LinkAdd(tun); err != nil {
		t.Skipf("the machine makes no TUN device: %v", err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(tun) })
	d := openTest(t, Options{Pins: testPins(t)})
	for _, mode := range []config.Attach{config.AttachNative, config.AttachGeneric} {
		_, err := d.Attach(name, mode)
		if !errors.Is(err, ErrNoMAC) || !strings.Contains(err.Error(), name+" is a layer-3 device (") {
			t.Errorf("attach %s to a TUN device: %v", mode, err)
		}
	}
	dev, err := DeviceByName(name)
	if err != nil || dev.ReadsFrames() || len(dev.Programs) > 0 {
		t.Errorf("the device: %+v, %v", dev, err)
	}
}

// An answer by XDP_TX leaves a veth only where its other end polls: then a reset is one, else packets learn that it is
// a drop.
func TestAnswersOfAVeth(t *testing.T) {
	name, pins := testVeth(t), testPins(t)
	d := openTest(t, Options{Pins: pins})
	noted := func() bool {
		dev, err := DeviceByName(name)
		if err != nil {
			t.Fatal(err)
		}
		lost, err := d.Unanswered()
		if err != nil {
			t.Fatal(err)
		}
		return lost[dev.Index]
	}
	if _, err := d.Attach(name, config.AttachNative); err != nil {
		t.Fatal(err)
	}
	if !noted() {
		t.Error("a veth whose peer has neither GRO nor a program is taken for one that answers")
	}
	if out, err := exec.Command("ethtool", "-K", name+"p", "gro", "on").CombinedOutput(); err != nil {
		t.Fatalf("ethtool (`make deps` installs it): %v: %s", err, out)
	}
	if err := d.noteInterfaces(); err != nil {
		t.Fatal(err)
	}
	if noted() {
		t.Error("a veth whose peer has GRO is taken for one that does not answer")
	}
}
