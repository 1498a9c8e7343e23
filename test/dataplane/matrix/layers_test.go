// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"fmt"

	"github.com/spillway/spillway/test/support/packet"
)

const tooDeepTags = "judged by nothing, for its addresses are not read: more than 370 tags need a frame over 1,514 bytes, " +
	"so only a neighbour on a jumbo link can send it"

func tags() section {
	s := section{title: "VLAN tags",
		intro: "802.1Q, 802.1ad and both in turn. Linux takes off any number of tags of VLAN 0, with " +
			"no VLAN device at all."}
	s.classes = rows("%s behind 0 to 6 tags", bodies, func(b packet.Body) []packet.Frame { return with(both, b, nil) })
	deep := func(b body, name string, depths ...int) class {
		c := class{name: b.name + " behind " + name}
		for _, f := range with(both, b.Body, nil) {
			for _, n := range depths {
				for _, kind := range []uint16{packet.EtherVLAN, packet.EtherQinQ} {
					f.Tags = packet.Tags(n, kind)
					c.packets = append(c.packets, sample{Frame: f})
				}
			}
		}
		return c
	}
	beyond := deep(syn, "371 tags", 371)
	beyond.exempt, beyond.hidden = tooDeepTags, tooDeepTags
	s.classes = append(s.classes,
		deep(syn, "7, 8, 9, 20, 60, 200, 300, 365 or 370 tags", 7, 8, 9, 20, 60, 200, 300, 365, 370), beyond)
	return s
}

func options() section {
	return section{
		title: "IPv4 options",
		intro: "4 to 40 bytes: no-operation, end of list, record route, and bytes that are no option.",
		classes: rows("%s behind options", bodies, func(b packet.Body) []packet.Frame {
			var all []packet.Frame
			for n := 4; n <= 40; n += 4 {
				for _, first := range []byte{1, 0, 7, 0xff} {
					o := make([]byte, n)
					for i := range o {
						o[i] = first
					}
					if first == 7 {
						copy(o, []byte{7, byte(n - 1), 4})
					}
					all = append(all, with(both[:1], b, func(f *packet.Frame) { f.Options = o })...)
				}
			}
			return all
		}),
	}
}

var kinds = []struct {
	name string
	kind uint8
}{
	{"hop-by-hop", packet.HopByHop}, {"routing", packet.Routing}, {"destination options", packet.DestOptions},
	{"atomic fragment", packet.FragmentHeader}, {"authentication", packet.AH}, {"mobility", packet.Mobility},
	{"HIP", packet.HIP}, {"Shim6", packet.Shim6},
}

const tooDeepHeaders = "judged by its addresses alone: more than 184 extension headers need a packet over 1,500 bytes, so only " +
	"a neighbour on a jumbo link can send it"

func extensions() section {
	s := section{title: "IPv6 extension headers",
		intro: "In any order and any number, as RFC 8200 section 4.1 asks of receivers."}
	repeated := func(kind uint8, b packet.Body, counts ...int) []packet.Frame {
		var all []packet.Frame
		for _, n := range counts {
			all = append(all, with(both[1:], b, func(f *packet.Frame) { f.Extensions = packet.Extensions(n, kind) })...)
		}
		return all
	}
	upTo8 := []int{1, 2, 3, 4, 5, 6, 7, 8}
	for _, k := range kinds {
		s.classes = append(s.classes,
			class{name: fmt.Sprintf("SYN behind 1 to 8 × %s", k.name), packets: tagged(repeated(k.kind, syn.Body, upTo8...)...)})
	}
	s.classes = append(s.classes, rows("%s behind 1 to 8 of each kind", bodies[1:], func(b packet.Body) []packet.Frame {
		var all []packet.Frame
		for _, k := range kinds {
			all = append(all, repeated(k.kind, b, upTo8...)...)
		}
		return all
	})...)
	s.classes = append(s.classes, rows("%s behind all kinds at once, short and long", bodies, allKinds)...)
	deep := class{name: "SYN behind 185 headers", hidden: tooDeepHeaders}
	for _, f := range repeated(packet.DestOptions, syn.Body, 185) {
		deep.packets = append(deep.packets, sample{Frame: f})
	}
	far := class{name: "SYN behind 9, 12, 13, 60, 150 or 184 headers"}
	for _, f := range repeated(packet.DestOptions, syn.Body, 9, 12, 13, 60, 150, 184) {
		far.packets = append(far.packets, sample{Frame: f})
	}
	jumbo := class{name: "SYN, payload length 0, behind hop-by-hop and 0 to 8 others"}
	for n := range 9 {
		jumbo.packets = append(jumbo.packets, tagged(with(both[1:], syn.Body, func(f *packet.Frame) {
			f.Extensions = append(packet.Extensions(1, packet.HopByHop), packet.Extensions(n, packet.DestOptions)...)
			f.Bent.Length = new(uint16)
		})...)...)
	}
	s.classes = append(s.classes, far, deep, jumbo)
	return s
}

func allKinds(b packet.Body) []packet.Frame {
	var all []packet.Frame
	for _, size := range []int{0, 6, 30, 200, 2046} {
		all = append(all, with(both[1:], b, func(f *packet.Frame) {
			for _, k := range kinds {
				e := packet.Extensions(1, k.kind)[0]
				if k.kind == packet.DestOptions { // one long header: a frame of 3 KiB has all in one buffer
					e.Data = make([]byte, size)
				}
				f.Extensions = append(f.Extensions, e)
			}
		})...)
	}
	return all
}
