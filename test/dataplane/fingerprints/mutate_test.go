// SPDX-License-Identifier: Apache-2.0

package fingerprints

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/gopacket/gopacket/layers"

	"github.com/spillway/spillway/test/support/capture"
	"github.com/spillway/spillway/test/support/clienthello"
	"github.com/spillway/spillway/test/support/packet"
)

// original is a capture whose frames are mutated.
type original struct {
	name   string
	link   layers.LinkType
	frames []record
	tcp    []int // those with TCP over Ethernet, of which mutations are made
}

// mutatedAtMost keeps long captures from taking all of the time.
const mutatedAtMost = 60

var visitor6 = clienthello.Connection{Source: netip.MustParseAddrPort("[2001:db8::7]:40000"),
	Dest: netip.MustParseAddrPort("[2001:db8::1]:443"), ISN: 1000}

func segmentOf(data []byte) clienthello.Segment { return clienthello.Segment{Data: data} }

func originalOf(name string, frames []capture.Frame) original {
	o := original{name: name, link: layers.LinkTypeEthernet}
	for _, f := range frames {
		o.link = f.Link
		o.frames = append(o.frames, record{data: f.Data})
		if _, ok := tcpAt(f.Data); ok && f.Link == layers.LinkTypeEthernet {
			o.tcp = append(o.tcp, len(o.frames)-1)
		}
	}
	return o
}

// tcpAt returns where the TCP header of a frame lies that has nothing between Ethernet, IP and TCP.
func tcpAt(frame []byte) (at int, ok bool) {
	const ipAt = packet.EthernetLen
	if len(frame) < ipAt+packet.IPv6Len+packet.TCPLen {
		return 0, false
	}
	switch kind := binary.BigEndian.Uint16(frame[12:]); {
	case kind == packet.EtherIPv4 && frame[ipAt]>>4 == 4:
		at = ipAt + int(frame[ipAt]&15)*4
		ok = frame[ipAt+9] == packet.ProtoTCP && binary.BigEndian.Uint16(frame[ipAt+6:])&0x3fff == 0
	case kind == packet.EtherIPv6 && frame[ipAt]>>4 == 6:
		at, ok = ipAt+packet.IPv6Len, frame[ipAt+6] == packet.ProtoTCP
	}
	return at, ok && len(frame) >= at+packet.TCPLen && len(frame) >= at+int(frame[at+12]>>4)*4
}

// clientOf is who sends a frame.
func clientOf(frame []byte, tcp int) netip.AddrPort {
	ip := frame[packet.EthernetLen:]
	a, _ := netip.AddrFromSlice(ip[8:24])
	if ip[0]>>4 == 4 {
		a, _ = netip.AddrFromSlice(ip[12:16])
	}
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(frame[tcp:]))
}

func seqOf(frame []byte, tcp int) uint32 { return binary.BigEndian.Uint32(frame[tcp+4:]) }

// comesAgain says whether a segment of a client came again with other bytes.
func comesAgain(frames []record, client netip.AddrPort) bool {
	before := map[uint32][]byte{}
	for _, f := range frames {
		at, ok := tcpAt(f.data)
		if !ok || clientOf(f.data, at) != client {
			continue
		}
		seq, data := seqOf(f.data, at), f.data[payloadAt(f.data):]
		if n := min(len(before[seq]), len(data)); !slices.Equal(before[seq][:n], data[:n]) {
			return true
		}
		if len(data) > len(before[seq]) {
			before[seq] = data
		}
	}
	return false
}

// payloadAt is where its data begins.
func payloadAt(frame []byte) int {
	at, _ := tcpAt(frame)
	return at + int(frame[at+12]>>4)*4
}

// mutations change a capture around the frame i, one with TCP.
var mutations = []struct {
	name string
	do   func(r *rand.Rand, frames []record, i int) []record
}{
	{"nothing", func(_ *rand.Rand, f []record, _ int) []record { return f }},
	{"a frame is lost", func(_ *rand.Rand, f []record, i int) []record { return slices.Delete(f, i, i+1) }},
	{"a frame comes again", func(r *rand.Rand, f []record, i int) []record {
		return slices.Insert(f, i+r.IntN(len(f)-i), f[i])
	}},
	{"frames change places", func(r *rand.Rand, f []record, i int) []record {
		j := r.IntN(len(f))
		f[i], f[j] = f[j], f[i]
		return f
	}},
	{"no length", func(_ *rand.Rand, f []record, i int) []record { f[i].data = withoutLength(f[i].data); return f }},
	{"fragments", func(r *rand.Rand, f []record, i int) []record {
		if first, second, ok := fragments(f[i].data, 8*(1+r.IntN(6))); ok {
			f[i].data = first
			return slices.Insert(f, i+1, record{data: second})
		}
		return f
	}},
	{"cut short", func(r *rand.Rand, f []record, i int) []record {
		n := len(f[i].data)
		short := r.IntN(n)
		f[i] = record{data: f[i].data[:n-short], more: f[i].more + short}
		return f
	}},
	{"a byte of data", func(r *rand.Rand, f []record, i int) []record { return bent(r, f, i, true) }},
	{"a byte of data, and no right checksum", func(r *rand.Rand, f []record, i int) []record {
		return bent(r, f, i, false)
	}},
	{"a byte of the headers", func(r *rand.Rand, f []record, i int) []record {
		d := slices.Clone(f[i].data)
		d[packet.EthernetLen+r.IntN(payloadAt(d)-packet.EthernetLen)] = byte(r.Uint32())
		f[i].data = d
		return f
	}},
	{"other bytes first", func(r *rand.Rand, f []record, i int) []record {
		return bent(r, slices.Insert(f, i, f[i]), i, true)
	}},
	{"other bytes afterwards", func(r *rand.Rand, f []record, i int) []record {
		return bent(r, slices.Insert(f, i, f[i]), i+1, true)
	}},
	{"in two segments", func(r *rand.Rand, f []record, i int) []record { return halved(r, f, i, false) }},
	{"in two segments, the second one first", func(r *rand.Rand, f []record, i int) []record {
		return halved(r, f, i, true)
	}},
}

// mutated is a part of a capture with one to three mutations, and their names.
func mutated(r *rand.Rand, o original) (frames []record, ways []string) {
	frames = slices.Clone(o.frames)
	if len(frames) > mutatedAtMost {
		from := 0
		if len(o.tcp) > 0 {
			from = o.tcp[r.IntN(len(o.tcp))]
		}
		frames = frames[from:min(len(frames), from+mutatedAtMost)]
	}
	for range 1 + r.IntN(3) {
		m := mutations[r.IntN(len(mutations))]
		i := pickTCP(r, frames)
		if i < 0 || o.link != layers.LinkTypeEthernet {
			return frames, []string{mutations[0].name}
		}
		frames = m.do(r, frames, i)
		ways = append(ways, m.name)
	}
	return frames, ways
}

// pickTCP draws a frame with TCP, one of the first ones mostly; -1 for none.
func pickTCP(r *rand.Rand, frames []record) int {
	var all []int
	for i, f := range frames {
		if _, ok := tcpAt(f.data); ok {
			all = append(all, i)
		}
	}
	if len(all) == 0 {
		return -1
	}
	if r.IntN(2) == 0 {
		all = all[:min(len(all), 8)]
	}
	return all[r.IntN(len(all))]
}

// bent changes a byte of a frame's data, with the checksums of another packet or right ones.
func bent(r *rand.Rand, f []record, i int, sums bool) []record {
	d := slices.Clone(f[i].data)
	at := payloadAt(d)
	if at >= len(d) {
		return f
	}
	d[at+r.IntN(len(d)-at)] = byte(r.Uint32())
	if sums {
		setSums(d)
	}
	f[i].data = d
	return f
}

// halved sends a frame's data in two segments.
func halved(r *rand.Rand, f []record, i int, backwards bool) []record {
	d := f[i].data
	at := payloadAt(d)
	if len(d)-at < 2 || f[i].more > 0 {
		return f
	}
	n := 1 + r.IntN(len(d)-at-1)
	first := slices.Clone(d[:at+n])
	second := append(slices.Clone(d[:at]), d[at+n:]...)
	tcp, _ := tcpAt(d)
	binary.BigEndian.PutUint32(second[tcp+4:], binary.BigEndian.Uint32(d[tcp+4:])+uint32(n))
	for _, part := range [][]byte{first, second} {
		setLength(part)
		setSums(part)
	}
	if backwards {
		first, second = second, first
	}
	f[i].data = first
	return slices.Insert(f, i+1, record{data: second})
}

// setLength makes the IP packet as long as the frame.
func setLength(frame []byte) {
	n := len(frame) - packet.EthernetLen
	if frame[packet.EthernetLen]>>4 == 4 {
		binary.BigEndian.PutUint16(frame[packet.EthernetLen+2:], uint16(n))
	} else {
		binary.BigEndian.PutUint16(frame[packet.EthernetLen+4:], uint16(n-packet.IPv6Len))
	}
}

// withoutLength is the frame of a host that leaves the length to its card.
func withoutLength(frame []byte) []byte {
	frame = slices.Clone(frame)
	at := packet.EthernetLen + 2
	if frame[packet.EthernetLen]>>4 == 6 {
		at += 2
	}
	frame[at], frame[at+1] = 0, 0
	return frame
}

// setSums makes the checksums of IPv4 and TCP right.
func setSums(frame []byte) {
	ip := frame[packet.EthernetLen:]
	at, ok := tcpAt(frame)
	if !ok {
		return
	}
	tcp := frame[at:]
	addresses := ip[8:40]
	if ip[0]>>4 == 4 {
		addresses = ip[12:20]
		header := ip[:int(ip[0]&15)*4]
		header[10], header[11] = 0, 0
		binary.BigEndian.PutUint16(header[10:], ^sumOf(0, header))
	}
	tcp[16], tcp[17] = 0, 0
	pseudo := uint32(sumOf(uint32(int(packet.ProtoTCP)+len(tcp)), addresses))
	binary.BigEndian.PutUint16(tcp[16:], ^sumOf(pseudo, tcp))
}

func sumOf(n uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		n += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) > 0 {
		n += uint32(b[0]) << 8
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}

// isWhole says whether the lengths and the checksums of a frame are those of what it carries.
func isWhole(frame []byte) bool {
	made := slices.Clone(frame)
	setLength(made)
	setSums(made)
	return slices.Equal(made, frame)
}

// fragments cuts an IP packet in two behind n bytes of what its header holds.
func fragments(frame []byte, n int) (first, second []byte, ok bool) {
	at, ok := tcpAt(frame)
	if !ok || len(frame) <= at+n {
		return nil, nil, false
	}
	if frame[packet.EthernetLen]>>4 == 4 {
		first, second = slices.Clone(frame[:at+n]), append(slices.Clone(frame[:at]), frame[at+n:]...)
		first[packet.EthernetLen+6] = 0x20 // more fragments
		binary.BigEndian.PutUint16(second[packet.EthernetLen+6:], uint16(n/8))
		for _, f := range [][]byte{first, second} {
			setLength(f)
			ip := f[packet.EthernetLen:at]
			ip[10], ip[11] = 0, 0
			binary.BigEndian.PutUint16(ip[10:], ^sumOf(0, ip))
		}
		return first, second, true
	}
	cut := func(part []byte, word uint16) []byte {
		f := append(slices.Clone(frame[:at]), packet.ProtoTCP, 0, byte(word>>8), byte(word), 0, 0, 0, 7)
		f = append(f, part...)
		f[packet.EthernetLen+6] = packet.FragmentHeader
		setLength(f)
		return f
	}
	return cut(frame[at:at+n], 1), cut(frame[at+n:], uint16(n)), true
}

// cutSYN is a SYN in two fragments, and once more whole.
func cutSYN(syn []byte) [][]byte {
	first, second, _ := fragments(syn, 8)
	return [][]byte{first, second}
}
