// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"github.com/spillway/spillway/test/support/packet"
)

const inFragments = "Linux puts the fragments together and answers, and a SYN whose header is spread over them has no " +
	"fingerprint here; prefixes and bans hold for every fragment, a rule may score the reason, and a policy may drop them"

// bytesOf returns the bytes of a content for a frame's addresses, checksum and all.
func bytesOf(f packet.Frame, b packet.Body) []byte {
	f.Body = b
	head := f
	head.Body = packet.Raw{}
	return f.Bytes()[len(head.Bytes()):]
}

// part makes a frame a fragment that holds some bytes of the content, from offset on.
func part(f packet.Frame, b packet.Body, offset, size int, more bool) packet.Frame {
	protocol := packet.ProtoTCP
	if _, ok := b.(packet.UDP); ok {
		protocol = packet.ProtoUDP
	}
	content := bytesOf(f, b)
	f.Body = packet.Raw{Protocol: protocol, Data: content[offset:min(offset+size, len(content))]}
	f.Fragment = &packet.Fragment{Offset: uint16(offset / 8), More: more, ID: 77}
	return f
}

func fragments() section {
	s := section{title: "Fragments",
		intro: "IPv4 and IPv6. The first fragment has the ports, and most often the whole header; the others " +
			"have only addresses."}
	add := func(name, hidden string, frames ...packet.Frame) {
		s.classes = append(s.classes, class{name: name, packets: tagged(frames...), hidden: hidden})
	}
	each := func(b body, edit func(packet.Frame) packet.Frame) []packet.Frame {
		var all []packet.Frame
		for _, f := range append(both[:2:2], behindHeaders()...) {
			all = append(all, edit(f))
		}
		return all
	}
	for _, b := range bodies {
		add(b.name+", first fragment with the whole header", "", each(b, func(f packet.Frame) packet.Frame {
			f = withBody(f, b)
			f.Fragment = &packet.Fragment{More: true, ID: 77}
			return f
		})...)
	}
	for _, b := range []body{syn, data, udp} {
		add(b.name+", first fragment of 8 bytes", inFragments,
			each(b, func(f packet.Frame) packet.Frame { return part(f, b.Body, 0, 8, true) })...)
	}
	add("SYN, first fragment of 16 bytes", inFragments,
		each(syn, func(f packet.Frame) packet.Frame { return part(f, syn.Body, 0, 16, true) })...)
	add("SYN, first fragment of 24 bytes (the options are cut)", inFragments,
		each(syn, func(f packet.Frame) packet.Frame { return part(f, syn.Body, 0, 24, true) })...)
	for _, b := range []body{syn, data, udp} {
		add(b.name+", later fragment", inFragments,
			each(b, func(f packet.Frame) packet.Frame { return part(f, b.Body, 8, 8, true) })...)
		add(b.name+", last fragment", inFragments,
			each(b, func(f packet.Frame) packet.Frame { return part(f, b.Body, 16, 99, false) })...)
	}
	overlap := func(f packet.Frame) packet.Frame { // bytes 8 to 31 again, with other flags than the first fragment's
		other := segment(packet.ACK, 1000, make([]byte, 12))
		return part(f, other, 8, 24, false)
	}
	add("fragment that overlaps the first one's header", inFragments, each(syn, overlap)...)
	add("far fragment, at the end of 64 KiB", inFragments, each(syn, func(f packet.Frame) packet.Frame {
		f.Body = packet.Raw{Protocol: packet.ProtoTCP, Data: make([]byte, 16)}
		f.Fragment = &packet.Fragment{Offset: 0x1fff, ID: 77}
		return f
	})...)
	s.classes = append(s.classes, rows("%s, atomic fragment (RFC 6946)", bodies, func(b packet.Body) []packet.Frame {
		return with(both[1:], b, func(f *packet.Frame) { f.Fragment = &packet.Fragment{ID: 77} })
	})...)
	return s
}

func withBody(f packet.Frame, b body) packet.Frame { f.Body = b.Body; return f }

// behindHeaders are frames whose fragment header, if any, stands behind options or other headers.
func behindHeaders() []packet.Frame {
	four, six := plain4, plain6
	four.Options = []byte{1, 1, 1, 0}
	six.Extensions = []packet.Extension{{Kind: packet.HopByHop}, {Kind: packet.DestOptions, Data: make([]byte, 22)}}
	return []packet.Frame{four, six}
}

const notOurs = "not TCP or UDP to a service: Spillway says nothing about it"

func others() section {
	s := section{title: "What is not ours",
		intro: "It passes, and is counted: also from a denied or banned source, for no service is behind it."}
	add := func(name, exempt string, frames ...packet.Frame) {
		s.classes = append(s.classes, class{name: name, packets: tagged(frames...), exempt: exempt, hidden: exempt})
	}
	link := func(etherType uint16) packet.Frame {
		return packet.Frame{EtherType: &etherType, Body: packet.Raw{Data: make([]byte, 46)}}
	}
	add("ARP, LLDP, MPLS, PPPoE, 802.3, EtherType 9100", "not IP, or IP inside of what only a tunnel or VLAN device opens",
		link(packet.EtherARP), link(packet.EtherLLDP), link(packet.EtherMPLS), link(packet.EtherPPPoE),
		link(46), link(0x9100))
	var frames []packet.Frame
	for _, f := range both {
		for _, protocol := range []uint8{packet.ICMP, packet.ICMPv6, packet.IPIP, packet.GRE, packet.ESP, packet.NoNext, 41,
			132, 136, 253, 255} {
			frames = append(frames, with([]packet.Frame{f}, packet.Raw{Protocol: protocol, Data: bytesOf(f, syn.Body)}, nil)...)
		}
	}
	frames = append(frames, with(both[:1], packet.Raw{Protocol: packet.AH, Data: make([]byte, 60)}, nil)...)
	add("ICMP, tunnels, ESP, SCTP and other protocols",
		notOurs+"; what is inside of a tunnel reaches a service only through a "+
			"tunnel device or an IPsec association that this host has set up", frames...)
	elsewhere := segment(packet.SYN, 1000, nil)
	var ports []packet.Frame
	for _, port := range []uint16{0, 22, 444, 65535} {
		elsewhere.DestPort = port
		ports = append(ports, with(both, elsewhere, nil)...)
		ports = append(ports, with(both, packet.UDP{SourcePort: 40000, DestPort: port, Payload: []byte("x")}, nil)...)
	}
	add("TCP and UDP to ports 0, 22, 444, 65535", notOurs, ports...)
	return s
}
