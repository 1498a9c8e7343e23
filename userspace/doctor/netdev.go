// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"encoding/binary"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The netdev family of generic netlink, from Documentation/netlink/specs/netdev.yaml: since Linux 6.3 it tells what
// each device can do with XDP.
const (
	netdevGetDevice   = 1 // NETDEV_CMD_DEV_GET
	netdevIndex       = 1 // NETDEV_A_DEV_IFINDEX
	netdevXDPFeatures = 3 // NETDEV_A_DEV_XDP_FEATURES

	xdpBasic = 1      // NETDEV_XDP_ACT_BASIC: pass, drop, abort and TX
	xdpFrags = 1 << 5 // NETDEV_XDP_ACT_RX_SG: frames of several buffers
)

// xdpFeatures returns the bits of each device by index; empty when the kernel does not tell.
func xdpFeatures() map[int]uint64 {
	family, err := netlink.GenlFamilyGet("netdev")
	if err != nil {
		return nil
	}
	req := nl.NewNetlinkRequest(int(family.ID), unix.NLM_F_DUMP)
	req.AddData(&nl.Genlmsg{Command: netdevGetDevice, Version: 1})
	replies, err := req.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return nil
	}
	features := map[int]uint64{}
	for _, m := range replies {
		if len(m) < nl.SizeofGenlmsg {
			continue
		}
		attrs, err := nl.ParseRouteAttr(m[nl.SizeofGenlmsg:])
		if err != nil {
			continue
		}
		index, bits := 0, uint64(0)
		for _, a := range attrs {
			switch {
			case a.Attr.Type == netdevIndex && len(a.Value) >= 4:
				index = int(binary.NativeEndian.Uint32(a.Value))
			case a.Attr.Type == netdevXDPFeatures && len(a.Value) >= 8:
				bits = binary.NativeEndian.Uint64(a.Value)
			}
		}
		features[index] = bits
	}
	return features
}
