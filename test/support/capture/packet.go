// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Packet is an IP packet in a frame.
type Packet struct {
	Frame int // its number
	// Under names what lies between the link layer and this packet: "" for nothing, else the layers, such as "Dot1Q" or
	// "IPv4 GRE".
	Under string
	IP    []byte // from the IP header on, without what pads the frame
}

// Packets returns the IP packets of a frame: the outer one, and those that it tunnels.
func (f Frame) Packets() []Packet {
	var all []Packet
	var under string
	first := true
	decoded := gopacket.NewPacket(f.Data, f.Link, gopacket.NoCopy)
	for _, layer := range decoded.Layers() {
		kind := layer.LayerType()
		if kind == layers.LayerTypeIPv4 || kind == layers.LayerTypeIPv6 {
			head, body := layer.LayerContents(), layer.LayerPayload()
			all = append(all, Packet{Frame: f.Number, Under: under, IP: head[: len(head)+len(body) : len(head)+len(body)]})
		}
		if !first || kind == layers.LayerTypeIPv4 || kind == layers.LayerTypeIPv6 {
			if under != "" {
				under += " "
			}
			under += kind.String()
		}
		first = false
	}
	return all
}

// Ethernet returns the frame as Ethernet, which is what a program on a network card reads. Other link types lose their
// header and get one without addresses.
func (f Frame) Ethernet() ([]byte, error) {
	if f.Link == layers.LinkTypeEthernet {
		return f.Data, nil
	}
	packets := f.Packets()
	if len(packets) == 0 {
		return nil, fmt.Errorf("frame %d of link type %s has no IP packet", f.Number, f.Link)
	}
	etherType := uint16(layers.EthernetTypeIPv4)
	if packets[0].IP[0]>>4 == 6 {
		etherType = uint16(layers.EthernetTypeIPv6)
	}
	return append(binary.BigEndian.AppendUint16(make([]byte, 12), etherType), packets[0].IP...), nil
}

// Flow is one direction of a connection.
type Flow struct{ Source, Dest netip.AddrPort }

// String writes the addresses in hexadecimal, as the tables of expected values do.
func (f Flow) String() string {
	return fmt.Sprintf("%x:%d>%x:%d", f.Source.Addr().AsSlice(), f.Source.Port(), f.Dest.Addr().AsSlice(), f.Dest.Port())
}

// TCP returns the segment that a packet holds itself, not in a tunnel; not of a fragment.
func (p Packet) TCP() (Flow, *layers.TCP, bool) {
	kind := layers.LayerTypeIPv4
	if p.IP[0]>>4 == 6 {
		kind = layers.LayerTypeIPv6
	}
	decoded := gopacket.NewPacket(p.IP, kind, gopacket.NoCopy)
	network := decoded.NetworkLayer()
	if network == nil {
		return Flow{}, nil, false
	}
	from, to := network.NetworkFlow().Endpoints()
	source, _ := netip.AddrFromSlice(from.Raw())
	dest, _ := netip.AddrFromSlice(to.Raw())
	for _, layer := range decoded.Layers()[1:] {
		if tcp, ok := layer.(*layers.TCP); ok {
			return Flow{netip.AddrPortFrom(source, uint16(tcp.SrcPort)),
				netip.AddrPortFrom(dest, uint16(tcp.DstPort))}, tcp, true
		}
		if !extension(layer.LayerType()) {
			break
		}
	}
	return Flow{}, nil, false
}

// extension reports whether a layer may stand between an IP header and its TCP.
func extension(kind gopacket.LayerType) bool {
	switch kind {
	case layers.LayerTypeIPv6HopByHop, layers.LayerTypeIPv6Routing, layers.LayerTypeIPv6Destination,
		layers.LayerTypeIPSecAH:
		return true
	}
	return false
}
