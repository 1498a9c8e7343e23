// SPDX-License-Identifier: Apache-2.0

package oracle_test

import (
	"math/rand/v2"
	"net/netip"

	"github.com/spillway/spillway/test/support/packet"
)

// Few addresses, ports and numbers: frames of one round shall meet again, as SYN and data of one connection, as two
// connections on the same ports, and as two connections in one place of the SYN table.
var (
	sources4 = addresses("198.51.100.1", "198.51.100.2", "198.51.100.200", "203.0.113.1", "203.0.113.77", "198.18.5.5")
	sources6 = addresses("2001:db8:a::1", "2001:db8:a::2", "2001:db8:a:1::1", "2001:db8:b::1", "2001:db8:c:ffff::1")
	dests4   = addresses("192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.1", "192.0.2.2", "192.0.2.3")
	dests6   = addresses("2001:db8::1", "2001:db8::2", "2001:db8::2", "2001:db8::1", "2001:db8::2", "2001:db8::3")

	sourcePorts = []uint16{40000, 40001, 50000}
	tcpPorts    = []uint16{443, 443, 443, 443, 443, 443, 8443, 8443, 8443, 80, 22, 0}
	udpPorts    = []uint16{53, 53, 53, 443, 443, 22, 0}
	firstSeqs   = []uint32{1000, 2000, 0xffffffff}
	extensions  = []uint8{packet.HopByHop, packet.Routing, packet.DestOptions, packet.DestOptions, packet.AH,
		packet.Mobility, packet.HIP, packet.Shim6, packet.FragmentHeader}
	optionLists = [][]byte{
		nil,
		packet.MSS(1460),
		packet.Options(packet.MSS(1460), packet.NOP(), packet.Scale(8), packet.NOP(), packet.NOP(), packet.SACKPermitted()),
		packet.Options(packet.MSS(1460), packet.SACKPermitted(), packet.Timestamps(1, 0), packet.NOP(), packet.Scale(7)),
		packet.Options(packet.MSS(1300), packet.EOL(), packet.Scale(3)),
		packet.Options(packet.Option(packet.KindMSS, 1), packet.Option(packet.KindScale, 1, 2)),
		{packet.KindMSS, 1, 0, 0},
		{packet.KindNOP, packet.KindNOP, packet.KindNOP, packet.KindMSS},
		make([]byte, 40),
		nops(24), nops(28), nops(40),
	}
	hello = append([]byte{22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, make([]byte, 40)...)
)

// fingerprints of optionLists, for the worlds' features.
var fingerprints = []string{"64240:::", "64240:2:1460:", "64240:2-1-3-1-1-4:1460:8",
	"64240:2-4-8-1-3:1460:7", "1024:2-0:1300:"}

func nops(n int) []byte {
	var b []byte
	for range n {
		b = append(b, packet.KindNOP)
	}
	return b
}

func addresses(all ...string) []netip.Addr {
	var parsed []netip.Addr
	for _, a := range all {
		parsed = append(parsed, netip.MustParseAddr(a))
	}
	return parsed
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// one reports true once in n times.
func one(r *rand.Rand, n int) bool { return r.IntN(n) == 0 }

// randomFrame returns a frame that a sender could mean: valid, of any kind. Half of the time it goes on with the
// connection of the last one.
func randomFrame(r *rand.Rand, last packet.Frame) packet.Frame {
	f := packet.Frame{Source: pick(r, sources4), Dest: pick(r, dests4)}
	if one(r, 2) {
		f.Source, f.Dest = pick(r, sources6), pick(r, dests6)
	}
	if one(r, 4) {
		for range 1 + r.IntN(4) {
			f.Tags = append(f.Tags,
				packet.Tag{Type: pick(r, []uint16{packet.EtherVLAN, packet.EtherQinQ}), ID: uint16(r.IntN(4096))})
		}
	}
	if one(r, 40) {
		most := pick(r, []int{70, 70, 70, 375}) // 370 are followed
		f.Tags = packet.Tags(r.IntN(most), pick(r, []uint16{packet.EtherVLAN, packet.EtherQinQ}))
	}
	if one(r, 400) {
		f.Tags = packet.Tags(369+r.IntN(3), packet.EtherVLAN)
	}
	if one(r, 5) {
		addLayers(r, &f)
	}
	if one(r, 6) {
		f.Padding = r.IntN(20)
	}
	f.Body = randomBody(r)
	before, wasTCP := last.Body.(packet.TCP)
	now, isTCP := f.Body.(packet.TCP)
	if wasTCP && isTCP && !one(r, 3) {
		now.SourcePort, now.DestPort = before.SourcePort, before.DestPort
		if before.Flags == packet.SYN && now.Flags != packet.SYN {
			now.Seq = before.Seq + 1
		}
		f.Body = now
		if f.Source.Is4() != last.Source.Is4() {
			f.Options, f.Extensions = nil, nil
		}
		f.Source, f.Dest = last.Source, last.Dest
	}
	return f
}

// randomVisit returns connections of one source to a service whose sockets are elsewhere, one after the other: what is
// judged there and charged. Their first payloads may come again.
func randomVisit(r *rand.Rand) (frames [][]byte) {
	f := packet.Frame{Source: pick(r, sources4), Dest: dests4[1]}
	if one(r, 2) {
		f.Source, f.Dest = pick(r, sources6), dests6[1]
	}
	port := pick(r, []uint16{443, 443, 8443})
	for range 1 + r.IntN(5) {
		t := packet.TCP{SourcePort: pick(r, sourcePorts), DestPort: port, Seq: r.Uint32(), Window: 64240,
			Flags: packet.SYN, Options: pick(r, optionLists[:5])}
		f.Body = t
		if one(r, 6) { // Fast Open, and again without
			t := t
			t.Payload = []byte("GET / HTTP/1.1\r\n")
			frames = append(frames, packet.Frame{Source: f.Source, Dest: f.Dest, Body: t}.Bytes())
		}
		frames = append(frames, f.Bytes())
		t.Seq, t.Flags, t.Options, t.Payload = t.Seq+1, packet.ACK|packet.PSH, nil, []byte("GET / HTTP/1.1\r\n")
		f.Body = t
		for range 1 + r.IntN(4)/3 {
			frames = append(frames, f.Bytes())
		}
	}
	return frames
}

// addLayers adds options, extension headers and fragmentation.
func addLayers(r *rand.Rand, f *packet.Frame) {
	if f.Source.Is4() {
		f.Options = make([]byte, 4*r.IntN(11))
	} else {
		for range r.IntN(9) {
			kind := pick(r, extensions)
			e := packet.Extensions(1, kind)[0]
			if kind != packet.FragmentHeader && one(r, 3) {
				e.Data = make([]byte, r.IntN(100))
			}
			f.Extensions = append(f.Extensions, e)
		}
		if one(r, 10) {
			n := pick(r, []int{r.IntN(40), 183 + r.IntN(3)}) // 184 are followed
			f.Extensions = append(f.Extensions, packet.Extensions(n, packet.DestOptions)...)
		}
	}
	if one(r, 3) {
		f.Fragment = &packet.Fragment{ID: 7, More: one(r, 2)}
		if one(r, 2) {
			f.Fragment.Offset = uint16(r.IntN(4))
		}
	}
}

func randomBody(r *rand.Rand) packet.Body {
	from, to := pick(r, sourcePorts), pick(r, tcpPorts)
	switch n := r.IntN(20); {
	case n < 3:
		return packet.UDP{SourcePort: from, DestPort: pick(r, udpPorts), Payload: make([]byte, r.IntN(30))}
	case n == 3:
		return packet.Raw{Protocol: pick(r, []uint8{packet.ICMP, packet.ICMPv6, packet.GRE, packet.ESP, packet.IPIP,
			packet.NoNext, packet.AH, packet.ProtoTCP, packet.ProtoUDP, 132, 253}), Data: make([]byte, r.IntN(40))}
	}
	t := packet.TCP{SourcePort: from, DestPort: to, Seq: pick(r, firstSeqs), Window: 64240, Flags: packet.ACK}
	if one(r, 10) {
		t.Window = pick(r, []uint16{0, 1024, 65535})
	}
	switch n := r.IntN(10); {
	case n < 4:
		t.Flags = packet.SYN
		t.Options = pick(r, optionLists[:5])
		if one(r, 4) {
			t.Options = pick(r, optionLists[5:]) // few are read whole
		}
	case n < 8: // the first payload, or the ACK before it
		t.Seq++
		if !one(r, 4) {
			t.Flags |= packet.PSH
			t.Payload = []byte("GET / HTTP/1.1\r\n")
			if one(r, 2) {
				t.Payload = hello
			}
		}
	default:
		t.Seq += uint32(r.IntN(3))
		t.Flags = uint8(r.IntN(256))
		t.Options = pick(r, optionLists)
		t.Payload = make([]byte, r.IntN(8))
	}
	return t
}
