// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
)

// Device is what netlink says of an interface of this network namespace. Links and pins may name what is elsewhere: a
// device of another namespace, or one that had this name before. Only this says what its packets meet.
type Device struct {
	Name  string
	Index int
	Type  uint16 // of its hardware, ARPHRD_*; 0 where it was not asked
	Kind  string // of a software device: veth, tun, wireguard…
	Peer  int    // of a veth: index of its other end
	// PeerElsewhere says that the other end is in another network namespace, where its index means nothing here.
	PeerElsewhere bool
	Programs      []DeviceProgram // on XDP; more than one where native and generic programs stand behind each other
}

// DeviceProgram is an XDP program on a device. No capability is needed to learn its id; to open it by that id,
// CAP_SYS_ADMIN is.
type DeviceProgram struct {
	ID   uint32
	Mode string // native, generic or offloaded
}

// DeviceByName returns what netlink says. ErrNoDevice when this network namespace has no such device.
func DeviceByName(name string) (Device, error) {
	if len(name) >= unix.IFNAMSIZ {
		return Device{}, fmt.Errorf("look at %s: %w", name, ErrNoDevice)
	}
	return oneDevice(name, 0, nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
}

// DeviceByIndex does the same by number.
func DeviceByIndex(index int) (Device, error) {
	return oneDevice(fmt.Sprintf("the device with index %d", index), int32(index))
}

// Devices returns all devices of this network namespace.
func Devices() ([]Device, error) { return askDevices("the devices", unix.NLM_F_DUMP, 0) }

func oneDevice(what string, index int32, attrs ...*nl.RtAttr) (Device, error) {
	all, err := askDevices(what, 0, index, attrs...)
	if err == nil && len(all) != 1 {
		err = fmt.Errorf("look at %s: netlink told of %d devices", what, len(all))
	}
	if err != nil {
		return Device{}, err
	}
	return all[0], nil
}

// askDevices asks rtnetlink itself: the library knows no more than one program a device.
func askDevices(what string, flags int, index int32, attrs ...*nl.RtAttr) ([]Device, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, flags)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = index
	req.AddData(msg)
	for _, a := range attrs {
		req.AddData(a)
	}
	replies, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if errors.Is(err, unix.ENODEV) {
		return nil, fmt.Errorf("look at %s: %w", what, ErrNoDevice)
	}
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", what, err)
	}
	all := make([]Device, 0, len(replies))
	for _, r := range replies {
		d, err := parseDevice(r)
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", what, err)
		}
		all = append(all, d)
	}
	return all, nil
}

func parseDevice(reply []byte) (Device, error) {
	if len(reply) < unix.SizeofIfInfomsg {
		return Device{}, errors.New("netlink's reply is too short")
	}
	msg := nl.DeserializeIfInfomsg(reply)
	d := Device{Index: int(msg.Index), Type: msg.Type}
	attrs, err := nl.ParseRouteAttr(reply[unix.SizeofIfInfomsg:])
	if err != nil {
		return Device{}, err
	}
	for _, a := range attrs {
		switch a.Attr.Type &^ unix.NLA_F_NESTED {
		case unix.IFLA_IFNAME:
			d.Name = strings.TrimRight(string(a.Value), "\x00")
		case unix.IFLA_LINK:
			if len(a.Value) >= 4 {
				d.Peer = int(binary.NativeEndian.Uint32(a.Value))
			}
		case unix.IFLA_LINK_NETNSID:
			d.PeerElsewhere = true
		case unix.IFLA_LINKINFO:
			d.Kind = parseKind(a.Value)
		case unix.IFLA_XDP:
			if d.Programs, err = parsePrograms(a.Value); err != nil {
				return Device{}, err
			}
		}
	}
	return d, nil
}

// parseKind returns the kind of a software device.
func parseKind(data []byte) string {
	attrs, err := nl.ParseRouteAttr(data)
	if err != nil {
		return ""
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.IFLA_INFO_KIND {
			return strings.TrimRight(string(a.Value), "\x00")
		}
	}
	return ""
}

// The attributes that name a program (include/uapi/linux/if_link.h); the plain one is missing where there are several.
const (
	xdpAttached = 2
	xdpProgID   = 4
	xdpDrvID    = 5
	xdpSkbID    = 6
	xdpHwID     = 7
)

func parsePrograms(data []byte) ([]DeviceProgram, error) {
	attrs, err := nl.ParseRouteAttr(data)
	if err != nil {
		return nil, err
	}
	var all []DeviceProgram
	var plain uint32
	attached := false
	for _, a := range attrs {
		if a.Attr.Type == xdpAttached && len(a.Value) > 0 {
			attached = a.Value[0] != nl.XDP_ATTACHED_NONE
		}
		if len(a.Value) < 4 {
			continue
		}
		id := binary.NativeEndian.Uint32(a.Value)
		switch a.Attr.Type {
		case xdpProgID:
			plain = id
		case xdpDrvID:
			all = append(all, DeviceProgram{id, string(config.AttachNative)})
		case xdpSkbID:
			all = append(all, DeviceProgram{id, string(config.AttachGeneric)})
		case xdpHwID:
			all = append(all, DeviceProgram{id, "offloaded"})
		}
	}
	if attached && len(all) == 0 {
		return nil, fmt.Errorf("netlink names no mode for XDP program %d", plain)
	}
	return slices.DeleteFunc(all, func(p DeviceProgram) bool { return p.ID == 0 }), nil
}

// Has reports whether the program with this id is on the device, and how.
func (d Device) Has(id uint32) (mode string, ok bool) {
	for _, p := range d.Programs {
		if p.ID == id && id != 0 {
			return p.Mode, true
		}
	}
	return "", false
}
