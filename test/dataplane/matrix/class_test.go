// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"fmt"
	"net/netip"

	"github.com/spillway/spillway/test/support/packet"
)

// class is one row of the page: packets that should fare the same.
type class struct {
	name    string
	packets []sample
	// exempt says why a denied source is not dropped here, and why that is safe; "": it must be.
	exempt string
	// hidden says why a denied fingerprint does not show; "": a SYN of it must be dropped.
	hidden string
}

// section is one table of the page.
type section struct {
	title, intro string
	classes      []class
}

// sample is a packet, whole or cut.
type sample struct {
	packet.Frame
	size int // bytes that are left of it; 0: all
}

func (s sample) bytes() []byte {
	b := s.Frame.Bytes()
	if s.size != 0 {
		b = b[:s.size]
	}
	return b
}

// hasAddresses reports whether the fixed IP header is all there.
func (s sample) hasAddresses() bool {
	fixed := packet.IPv6Len
	if s.Source.Is4() {
		fixed = packet.IPv4Len
	}
	return s.Source.IsValid() && (s.size == 0 || s.size >= s.L3()+fixed)
}

// isSYN reports whether it asks for a connection, by its TCP flags.
func (s sample) isSYN() bool {
	t, ok := s.Body.(packet.TCP)
	return ok && t.Flags&(packet.SYN|packet.ACK) == packet.SYN
}

var (
	source4, dest4 = netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("192.0.2.1")
	source6, dest6 = netip.MustParseAddr("2001:db8:a::7"), netip.MustParseAddr("2001:db8::1")

	plain4 = packet.Frame{Source: source4, Dest: dest4}
	plain6 = packet.Frame{Source: source6, Dest: dest6}
	both   = []packet.Frame{plain4, plain6}
)

const (
	webPort = 443
	dnsPort = 53
	// fingerprint of every SYN here, as MuonFP.
	fingerprint = "64240:2-1-3-1-1-4:1460:8"
)

// body is a kind of content.
type body struct {
	name string
	packet.Body
}

// The numbers are such that no data continues a SYN: each packet is decided by itself.
var (
	syn   = body{"SYN", segment(packet.SYN, 1000, nil)}
	ack   = body{"segment without data", segment(packet.ACK, 5000, nil)}
	data  = body{"data", segment(packet.ACK|packet.PSH, 5000, []byte("GET / HTTP/1.1\r\n\r\n"))}
	hello = body{"ClientHello",
		segment(packet.ACK|packet.PSH, 5000, append([]byte{22, 3, 1, 0, 60, 1, 0, 0, 56, 3, 3}, make([]byte, 54)...))}
	udp = body{"UDP", packet.UDP{SourcePort: 40000, DestPort: dnsPort, Payload: []byte("a question")}}

	bodies = []body{syn, ack, data, hello, udp}
)

func segment(flags uint8, seq uint32, payload []byte) packet.TCP {
	t := packet.TCP{SourcePort: 40000, DestPort: webPort, Seq: seq, Flags: flags, Window: 64240, Payload: payload}
	if flags&packet.SYN != 0 {
		t.Options = packet.Options(packet.MSS(1460), packet.NOP(), packet.Scale(8), packet.NOP(), packet.NOP(),
			packet.SACKPermitted())
	}
	return t
}

// tagSets are no tag, and 1 to 6 of each kind and of both in turn.
func tagSets() [][]packet.Tag {
	sets := [][]packet.Tag{nil}
	for n := 1; n <= 6; n++ {
		mixed := packet.Tags(n, packet.EtherVLAN)
		for i := 0; i < n; i += 2 {
			mixed[i].Type = packet.EtherQinQ
		}
		sets = append(sets, packet.Tags(n, packet.EtherVLAN), packet.Tags(n, packet.EtherQinQ), mixed)
	}
	return sets
}

// tagged puts every frame behind every set of tags.
func tagged(frames ...packet.Frame) []sample {
	var all []sample
	for _, f := range frames {
		for _, tags := range tagSets() {
			f.Tags = tags
			all = append(all, sample{Frame: f})
		}
	}
	return all
}

// with returns the frames with a content, each bent by edit (which may be nil).
func with(frames []packet.Frame, b packet.Body, edit func(*packet.Frame)) []packet.Frame {
	var all []packet.Frame
	for _, f := range frames {
		f.Body = b
		if edit != nil {
			edit(&f)
		}
		all = append(all, f)
	}
	return all
}

// rows makes a class for each content; name has one %s for it.
func rows(name string, contents []body, frames func(b packet.Body) []packet.Frame) []class {
	var all []class
	for _, b := range contents {
		all = append(all, class{name: fmt.Sprintf(name, b.name), packets: tagged(frames(b.Body)...)})
	}
	return all
}
