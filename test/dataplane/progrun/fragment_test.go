// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"testing"

	"github.com/spillway/spillway/test/support/packet"
)

// first makes a frame the first of several fragments.
func first(f packet.Frame) packet.Frame {
	f.Fragment = &packet.Fragment{More: true, ID: 9}
	return f
}

// later makes a fragment of what f's body would be followed by.
func later(f packet.Frame, offset uint16, more bool) packet.Frame {
	protocol := packet.ProtoTCP
	if _, udp := f.Body.(packet.UDP); udp {
		protocol = packet.ProtoUDP
	}
	f.Fragment = &packet.Fragment{Offset: offset, More: more, ID: 9}
	f.Body = packet.Raw{Protocol: protocol, Data: make([]byte, 40)}
	return f
}

// tiny is a first fragment of n bytes of what f carries: less than the header that follows the IP header.
func tiny(f packet.Frame, n int) packet.Frame {
	whole := f.Bytes()
	header := packet.IPv6Len
	if f.Source.Is4() {
		header = packet.IPv4Len
	}
	f = first(f)
	f.Body = packet.Raw{Protocol: packet.ProtoTCP, Data: whole[packet.EthernetLen+header:][:n]}
	return f
}

func TestFragments(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, f.usual().bundle())
		p.wantRows([]row{
			{"first, a bot's SYN", first(f.syn(f.bot)), drops("prefix")},
			{"first, a scanner's SYN", first(f.scan(f.visitor)), drops("tcp_fingerprint")},
			{"first, a visitor's SYN", first(f.syn(f.visitor)), passes("no_match")},
			{"first, a visitor's data", first(f.data(f.visitor, 5, request)), passes("midstream")},
			{"first, a bot's UDP", first(f.udp(f.bot, dnsPort)), drops("prefix").of("dns")},
			{"first, a visitor's UDP", first(f.udp(f.visitor, dnsPort)), passes("no_match").of("dns")},
			{"later, a bot", later(f.syn(f.bot), 1, true), drops("prefix")},
			{"last, a bot", later(f.syn(f.bot), 185, false), drops("prefix")},
			{"last possible, a bot", later(f.syn(f.bot), 8191, false), drops("prefix")},
			{"later, a visitor", later(f.syn(f.visitor), 1, true), passes("fragment")},
			{"last, a visitor", later(f.syn(f.visitor), 185, false), passes("fragment")},
			{"last, a suspect", later(f.syn(f.mild), 185, false), passes("below_threshold")},
			{"last, a protected source", later(f.syn(f.protected), 185, false), passes("protected")},
			{"eight bytes of a bot's SYN", tiny(f.syn(f.bot), 8), drops("prefix")},
			{"eight bytes of a visitor's SYN", tiny(f.syn(f.visitor), 8), passes("fragment")},
		})
	})
}

// A fragment header that says "the only one" makes no fragment (RFC 6946).
func TestAtomicFragmentsAreWholePackets(t *testing.T) {
	f := families[1]
	b := f.usual().rule("fragment", 100).reason("fragment", "fragment").bundle()
	p := borrow(t).site(f, b)
	atomic := func(f packet.Frame) packet.Frame { f.Fragment = &packet.Fragment{ID: 9}; return f }
	p.wantRows([]row{
		{"a scanner's SYN", atomic(f.scan(f.visitor)), drops("tcp_fingerprint")},
		{"a bot's SYN", atomic(f.syn(f.bot)), drops("prefix")},
		{"a visitor's SYN", atomic(f.syn(f.visitor)), passes("no_match")},
		{"a suspect's SYN: no fragment to score", atomic(f.syn(f.mild)), passes("below_threshold")},
		{"a suspect's SYN in a true fragment", first(f.syn(f.mild)), drops("fragment")},
	})
	// Don't Fragment and a mere identification make none in IPv4 either.
	f = families[0]
	p = borrow(t).site(f, f.usual().rule("fragment", 100).reason("fragment", "fragment").bundle())
	frame := f.syn(f.mild).Bytes()
	frame[packet.EthernetLen+4], frame[packet.EthernetLen+6] = 0xbe, 0x40
	p.wantBytes("a suspect's SYN with DF", frame, passes("below_threshold"))
}

// A fragment is scored by its reason, and by its prefix; never by its reason alone.
func TestFragmentsAreScored(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		b := f.usual().rule("fragment", 40).reason("fragment", "fragment").bundle()
		p := borrow(t).site(f, b)
		p.wantRows([]row{
			{"a suspect's first fragment", first(f.syn(f.mild)), drops("prefix")},
			{"a suspect's last fragment", later(f.syn(f.mild), 185, false), drops("prefix")},
			{"a suspect's whole SYN", f.syn(f.mild), passes("below_threshold")},
			{"a visitor's first fragment", first(f.syn(f.visitor)), passes("below_threshold")},
			{"a visitor's last fragment", later(f.syn(f.visitor), 185, false), passes("below_threshold")},
		})
	})
}
