// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"github.com/spillway/spillway/test/support/packet"
)

// visitor is who sends the hot packets.
var visitor = netip.MustParseAddrPort("198.51.100.20:40000")

// newcomer sends the hot SYNs: one for the visitor's connection would make each of its packets ask whether it was taken
// over.
var newcomer = netip.MustParseAddrPort("198.51.100.20:40001")

// linuxOptions are those of a Linux client's SYN.
func linuxOptions() []byte {
	return packet.Options(packet.MSS(1460), packet.SACKPermitted(), packet.Timestamps(1, 0), packet.NOP(), packet.Scale(7))
}

// scanOptions are those of nmap -sS: MuonFP 1024:2:1460:.
func scanOptions() []byte { return packet.Options(packet.MSS(1460)) }

const scanFingerprint = "1024:2:1460:"

func segment(src, dst netip.AddrPort, edit func(*packet.TCP)) []byte {
	tcp := packet.TCP{
		SourcePort: src.Port(), DestPort: dst.Port(), Seq: 1000, Ack: 1, Flags: packet.ACK, Window: 502,
		Options: packet.Options(packet.NOP(), packet.NOP(), packet.Timestamps(2, 1)),
	}
	if edit != nil {
		edit(&tcp)
	}
	return packet.Frame{Source: src.Addr(), Dest: dst.Addr(), Body: tcp}.Bytes()
}

func synFrame(src, dst netip.AddrPort) []byte {
	return segment(src, dst, func(t *packet.TCP) {
		t.Flags, t.Ack, t.Window, t.Options = packet.SYN, 0, 64240, linuxOptions()
	})
}

func scanFrame(src, dst netip.AddrPort) []byte {
	return segment(src, dst, func(t *packet.TCP) {
		t.Flags, t.Ack, t.Window, t.Options = packet.SYN, 0, 1024, scanOptions()
	})
}

// helloFrame carries a whole ClientHello.
func helloFrame(src, dst netip.AddrPort, seq uint32) []byte {
	return segment(src, dst, func(t *packet.TCP) {
		t.Flags, t.Seq, t.Payload = packet.ACK|packet.PSH, seq, small
	})
}

// step is one packet of a feeder.
func step(src netip.AddrPort, seq uint32) compareStep {
	a := src.Addr().As4()
	var port, seqBytes [4]byte
	binary.BigEndian.PutUint16(port[:], src.Port())
	binary.BigEndian.PutUint32(seqBytes[:], seq)
	return compareStep{
		Saddr: binary.NativeEndian.Uint32(a[:]),
		Sport: binary.NativeEndian.Uint16(port[:2]),
		Seq:   binary.NativeEndian.Uint32(seqBytes[:]),
	}
}

// randomSources returns n different addresses of 198.18.0.0/15 with ports.
func randomSources(r *rand.Rand, n int) []netip.AddrPort {
	return distinct(n, func() (netip.AddrPort, bool) {
		return netip.AddrPortFrom(address(0xc6120000|r.Uint32()&0x1ffff), uint16(1024+r.IntN(64000))), true
	})
}

// anywhere draws an address below 192.0.0.0, where lists of prefixes lie. It stands in a buffer or a map: no packet of
// a program run leaves the machine.
func anywhere(r *rand.Rand) netip.Addr { return address(0x01000000 + r.Uint32N(0xbf000000)) }

// randomAddresses returns n different sources from anywhere.
func randomAddresses(r *rand.Rand, n int) []netip.AddrPort {
	return distinct(n, func() (netip.AddrPort, bool) {
		return netip.AddrPortFrom(anywhere(r), uint16(1024+r.IntN(64000))), true
	})
}

// deniedSources returns n different sources of the denied prefix, a port after the other.
func deniedSources(n int) []netip.AddrPort {
	all := make([]netip.AddrPort, n)
	a := deniedPrefix.Addr().As4()
	for i := range all {
		a[3] = byte(i)
		all[i] = netip.AddrPortFrom(netip.AddrFrom4(a), uint16(1024+i>>8))
	}
	return all
}

// randomPrefixes returns n different IPv4 prefixes of the lengths that public lists have: /32 and /24, few wider.
func randomPrefixes(r *rand.Rand, n int) []netip.Prefix {
	lengths := []int{32, 32, 32, 32, 24, 24, 24, 24, 24, 22}
	return distinct(n, func() (netip.Prefix, bool) {
		p, err := anywhere(r).Prefix(lengths[r.IntN(len(lengths))])
		return p, err == nil
	})
}

// list6 is how many IPv6 prefixes a list has: the routed ones of the world, about.
const list6 = 200_000

// randomPrefixes6 returns n different IPv6 prefixes of 2000::/4, where the feeder's sources lie.
func randomPrefixes6(r *rand.Rand, n int) []netip.Prefix {
	lengths := []int{32, 32, 36, 36, 36, 29}
	return distinct(n, func() (netip.Prefix, bool) {
		p, err := address6(r.Uint32()).Prefix(lengths[r.IntN(len(lengths))])
		return p, err == nil
	})
}

// address6 is where the feeder puts the 32 bits of a step: see rewrite6 in compare.c.
func address6(v uint32) netip.Addr {
	var a [16]byte
	binary.BigEndian.PutUint64(a[:], 0x2000000000000000|uint64(v)<<28)
	return netip.AddrFrom16(a)
}

// within returns n sources that lie in prefixes, each with a port.
func within(r *rand.Rand, prefixes []netip.Prefix, n int) []netip.AddrPort {
	return distinct(n, func() (netip.AddrPort, bool) {
		p := prefixes[r.IntN(len(prefixes))]
		first := binary.BigEndian.Uint32(p.Addr().AsSlice())
		return netip.AddrPortFrom(address(first|r.Uint32()>>p.Bits()), uint16(1024+r.IntN(64000))), true
	})
}

func address(v uint32) netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], v)
	return netip.AddrFrom4(a)
}

// distinct draws until n different values are there.
func distinct[T comparable](n int, draw func() (T, bool)) []T {
	seen := make(map[T]bool, n)
	out := make([]T, 0, n)
	for len(out) < n {
		if v, ok := draw(); ok && !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return out
}
