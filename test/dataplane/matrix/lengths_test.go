// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"github.com/spillway/spillway/test/support/packet"
)

const byAddressesOnly = "Linux drops it; its headers cannot be read, so there is no fingerprint"

func lengths() section {
	s := section{title: "Lengths that lie",
		intro: "Linux drops all of these but those whose lie is on the long side of UDP's or in padding. Nothing " +
			"is dropped by Spillway for the lie; a denied source is dropped where its addresses can be read."}
	add := func(name, hidden string, frames ...packet.Frame) {
		s.classes = append(s.classes, class{name: name, packets: tagged(frames...), hidden: hidden})
	}
	bent := func(frames []packet.Frame, b packet.Body, edit func(*packet.Frame, uint16), values ...uint16) []packet.Frame {
		var all []packet.Frame
		for _, v := range values {
			all = append(all, with(frames, b, func(f *packet.Frame) { edit(f, v) })...)
		}
		return all
	}
	four, six := both[:1], both[1:]
	setIHL := func(f *packet.Frame, v uint16) { f.Bent.HeaderWords = new(uint8(v)) }
	setVersion := func(f *packet.Frame, v uint16) { f.Bent.Version = new(uint8(v)) }
	setLength := func(f *packet.Frame, v uint16) { f.Bent.Length = new(v) }
	setOffset := func(f *packet.Frame, v uint16) {
		t := f.Body.(packet.TCP)
		t.HeaderWords = new(uint8(v))
		f.Body = t
	}
	for _, b := range []body{syn, data} {
		add(b.name+", data offset 0 to 4", byAddressesOnly, bent(both, b.Body, setOffset, 0, 1, 2, 3, 4)...)
		add(b.name+", data offset beyond the end", byAddressesOnly, bent(both, shortOf(b), setOffset, 13, 14, 15)...)
	}
	for _, b := range []body{syn, data, udp} {
		add(b.name+", IHL 0 to 4", byAddressesOnly, bent(four, b.Body, setIHL, 0, 1, 2, 3, 4)...)
		add(b.name+", IHL 15 beyond the end", byAddressesOnly, bent(four, shortOf(b), setIHL, 15)...)
		add(b.name+", version 0 to 15 but the right one", byAddressesOnly, append(
			bent(four, b.Body, setVersion, 0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
			bent(six, b.Body, setVersion, 0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15)...)...)
		add(b.name+", IPv4 total length 0 to 19", byAddressesOnly, bent(four, b.Body, setLength, 0, 1, 8, 19)...)
		add(b.name+", IPv4 total length 20 to 39, IPv6 payload length 1 to 19", byAddressesOnly, append(
			bent(four, b.Body, setLength, 20, 23, 24, 27), bent(six, b.Body, setLength, 1, 3, 4, 7)...)...)
		add(b.name+", IPv6 payload length 0", byAddressesOnly, bent(six, b.Body, setLength, 0)...)
		add(b.name+", a length beyond the frame", "",
			append(bent(four, b.Body, setLength, 200, 1500, 65535), bent(six, b.Body, setLength, 200, 1500, 65535)...)...)
		add(b.name+", padded frame", "", with(both, b.Body, func(f *packet.Frame) { f.Padding = 18 })...)
	}
	add("UDP length 0 to 7", "", udpLengths(0, 1, 4, 7)...)
	add("UDP length shorter or longer than the packet", "", udpLengths(8, 9, 17, 19, 500, 65535)...)
	var extension []packet.Frame
	for _, k := range kinds {
		if k.kind == packet.FragmentHeader {
			continue // its second byte is no length
		}
		extension = append(extension, with(six, syn.Body, func(f *packet.Frame) {
			f.Extensions = packet.Extensions(1, k.kind)
			f.Extensions[0].Length = new(uint8(255))
		})...)
	}
	add("SYN, extension header longer than the packet", byAddressesOnly, extension...)
	return s
}

// shortOf is a content too short for what its lengths will say.
func shortOf(b body) packet.Body {
	if t, ok := b.Body.(packet.TCP); ok {
		t.Options, t.Payload = nil, nil
		return t
	}
	return packet.UDP{SourcePort: 40000, DestPort: dnsPort}
}

func udpLengths(lengths ...uint16) []packet.Frame {
	var all []packet.Frame
	for _, n := range lengths {
		all = append(all,
			with(both, packet.UDP{SourcePort: 40000, DestPort: dnsPort, Payload: []byte("a question"), Length: &n}, nil)...)
	}
	return all
}

func flags() section {
	s := section{title: "TCP flags", intro: "All 64 combinations of FIN, SYN, RST, PSH, ACK, URG, over IPv4 and IPv6."}
	groups := []struct {
		name string
		in   func(flags uint8) bool
	}{
		{"SYN without ACK, 16 combinations", func(f uint8) bool { return f&(packet.SYN|packet.ACK) == packet.SYN }},
		{"ACK with or without SYN, 32 combinations", func(f uint8) bool { return f&packet.ACK != 0 }},
		{"neither, 16 combinations", func(f uint8) bool { return f&(packet.SYN|packet.ACK) == 0 }},
	}
	for _, g := range groups {
		for _, payload := range []struct {
			name string
			data []byte
		}{{"without data", nil}, {"with data", []byte("GET / HTTP/1.1\r\n\r\n")}} {
			var frames []packet.Frame
			for f := range uint8(64) {
				if g.in(f) {
					frames = append(frames, with(both, segment(f, 9000, payload.data), nil)...)
				}
			}
			s.classes = append(s.classes, class{name: g.name + ", " + payload.name, packets: tagged(frames...)})
		}
	}
	return s
}

// truncations cuts whole packets of all kinds at every byte; the row says where the cut lies.
func truncations() section {
	s := section{title: "Cut at every byte",
		intro: "Each kind of packet, with options, extension headers and as a fragment, at every length from 14 bytes on " +
			"(the kernel's least). The lengths in the headers stay as they were, so Linux drops every one of them."}
	names := []string{"cut in Ethernet, in the tags or in the fixed IP header",
		"cut in IPv4 options, in extension headers or before the ports end",
		"cut in the TCP header, behind the ports", "cut in the UDP header", "cut in the TCP options",
		"cut in the data", "not cut"}
	byPlace := map[string][]sample{}
	var bases []packet.Frame
	for _, b := range bodies {
		bases = append(bases, with(append(both[:2:2], behindHeaders()...), b.Body, nil)...)
	}
	first := withBody(plain6, syn)
	first.Fragment = &packet.Fragment{More: true}
	bases = append(bases, first)
	for _, base := range tagged(bases...) {
		head := base.Frame
		head.Body = packet.Raw{}
		behind := len(head.Bytes())
		for n := range packet.Truncations(base.bytes(), packet.EthernetLen) {
			cut := sample{base.Frame, n}
			byPlace[placeOf(cut, n-behind, n == len(base.bytes()))] = append(
				byPlace[placeOf(cut, n-behind, n == len(base.bytes()))], cut)
		}
	}
	for i, name := range names {
		c := class{name: name, packets: byPlace[name]}
		if i == 0 {
			c.exempt = "its addresses are not there; Linux drops it"
		}
		if i < 5 {
			c.hidden = byAddressesOnly
		}
		s.classes = append(s.classes, c)
	}
	return s
}

// placeOf names the place of a cut, so many bytes behind the IP headers.
func placeOf(s sample, behind int, whole bool) string {
	t, isTCP := s.Body.(packet.TCP)
	switch {
	case whole:
		return "not cut"
	case !s.hasAddresses():
		return "cut in Ethernet, in the tags or in the fixed IP header"
	case behind < 4:
		return "cut in IPv4 options, in extension headers or before the ports end"
	case !isTCP && behind < packet.UDPLen:
		return "cut in the UDP header"
	case isTCP && behind < packet.TCPLen:
		return "cut in the TCP header, behind the ports"
	case isTCP && behind < packet.TCPLen+len(t.Options):
		return "cut in the TCP options"
	}
	return "cut in the data"
}
