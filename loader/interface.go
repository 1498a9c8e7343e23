// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
)

// leavesSums are drivers that hand XDP packets of a sender on the same machine, whose TCP checksum is the pseudo
// header's only: a network card was to add the rest, and there is none between them.
var leavesSums = []string{"netkit", "tap", "tun", "tuntap", "veth", "vif", "virtio_net", "xen_netfront"}

// LeavesSums says whether packets may come from the driver, or the kind of a software interface, without a whole
// checksum.
func LeavesSums(driver string) bool { return slices.Contains(leavesSums, driver) }

// flagsOf is what the dataplane has to know of an interface.
func flagsOf(index int) uint32 {
	flags := sumFlags(index)
	if dev, err := DeviceByIndex(index); err == nil && dev.Answers() == AnswerLost {
		flags |= uint32(bpf.InterfaceNoTX)
	}
	return flags
}

// sumFlags asks the driver. One that does not answer has no flags.
func sumFlags(index int) uint32 {
	iface, err := net.InterfaceByIndex(index)
	if err != nil {
		return 0
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer func() { _ = unix.Close(fd) }()
	info, err := unix.IoctlGetEthtoolDrvinfo(fd, iface.Name)
	if err != nil || !LeavesSums(unix.ByteSliceToString(info.Driver[:])) {
		return 0
	}
	return uint32(bpf.InterfacePartialSums)
}

// noteInterface tells the dataplane what an interface is. By its number, which stays when it is renamed.
func (ls *Links) noteInterface(index int) error {
	m := ls.maps[bpf.DataplaneMapInterfaces]
	if err := m.Put(uint32(index), bpf.Interface{Flags: flagsOf(index) | ls.freshFlag(index)}); err != nil {
		return kernel.Explain(fmt.Sprintf("note what interface %d is", index), err)
	}
	return nil
}

// SetFresh names the interfaces on which only a generation counts that is compiled for the host file in force, and
// tells the dataplane. One that is attached already, and was none, is none under another name either.
func (ls *Links) SetFresh(names []string) error {
	was := ls.fresh.Swap(&names)
	if err := ls.noteInterfaces(); err != nil {
		ls.fresh.Store(was)
		return err
	}
	return nil
}

// freshFlag is that of an interface. What is noted of it stays: an agent that starts forgets nothing, and a device may
// get another name.
func (ls *Links) freshFlag(index int) uint32 {
	fresh := ls.fresh.Load()
	if fresh != nil && len(*fresh) == 0 {
		return 0
	}
	var noted bpf.Interface
	if ls.maps[bpf.DataplaneMapInterfaces].Lookup(uint32(index), &noted) == nil || fresh == nil {
		return noted.Flags & uint32(bpf.InterfaceFresh)
	}
	for _, name := range *fresh {
		if d, err := DeviceByName(name); err == nil && d.Index == index {
			return uint32(bpf.InterfaceFresh)
		}
	}
	return 0
}

// noteInterfaces tells the dataplane of all interfaces that are attached, and of no others.
func (ls *Links) noteInterfaces() error {
	all, err := attachments(ls.pins)
	if err != nil {
		return err
	}
	here := map[uint32]bool{}
	for _, a := range all {
		if a.State == StateAttached && a.Here {
			here[uint32(a.Index)] = true
		}
	}
	m := ls.maps[bpf.DataplaneMapInterfaces]
	var gone []uint32
	if err := kernel.EachRow(m, func(index uint32, _ bpf.Interface) {
		if !here[index] {
			gone = append(gone, index)
		}
	}); err != nil {
		return err
	}
	for _, index := range gone {
		if err := m.Delete(index); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return kernel.Explain("forget an interface", err)
		}
	}
	for index := range here {
		if err := ls.noteInterface(int(index)); err != nil {
			return err
		}
	}
	return nil
}

// Unanswered returns the numbers of the interfaces that an answer by XDP_TX does not leave, as the dataplane knows
// it: there a reset is enforced as a drop.
func (ls *Links) Unanswered() (map[int]bool, error) {
	out := map[int]bool{}
	err := kernel.EachRow(ls.maps[bpf.DataplaneMapInterfaces], func(index uint32, i bpf.Interface) {
		if i.Flags&uint32(bpf.InterfaceNoTX) != 0 {
			out[int(index)] = true
		}
	})
	return out, err
}
