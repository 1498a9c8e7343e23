// SPDX-License-Identifier: Apache-2.0

package fingerprints

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/test/support/packet"
)

// published is a SYN made from a signature, with an example for what the signature leaves open.
type published struct {
	signature.P0F
	version, hops uint8
	port          uint16 // the sender's
}

func (s published) has(quirk string) bool {
	return slices.Contains(strings.Split(s.Quirks.String(), ","), quirk)
}

// sizes returns MSS and window. An open MSS is Ethernet's, less where the window would not fit its field.
func (s published) sizes() (mss, window int) {
	headers := packet.IPv4Len + packet.TCPLen
	if s.version == 6 {
		headers = packet.IPv6Len + packet.TCPLen
	}
	mss, n := 1500-headers, int(s.Window.N)
	switch {
	case s.MSS != nil:
		mss = int(*s.MSS)
	case s.Window.Kind == signature.WindowMSS:
		mss = min(mss, 65535/n)
	case s.Window.Kind == signature.WindowMTU:
		mss = min(mss, 65535/n-headers)
	}
	switch s.Window.Kind {
	case signature.WindowAny:
		return mss, 4321
	case signature.WindowMSS:
		return mss, n * mss
	case signature.WindowMTU:
		return mss, n * (mss + headers)
	}
	return mss, n // itself, or a multiple of it
}

// options are those of the layout. An option without a name is as long as the header needs it.
func (s published) options(mss uint16) (all []byte) {
	flag := func(quirk string) uint32 { return map[bool]uint32{true: 1}[s.has(quirk)] }
	scale := uint8(10 + 5*flag("exws"))
	if s.Scale != nil {
		scale = *s.Scale
	}
	filling := make([]byte, -signature.LayoutBytes(s.Layout, s.EOLPad)&3)
	for _, kind := range s.Layout {
		switch kind {
		case packet.KindEOL:
			all = append(append(all, kind), make([]byte, s.EOLPad)...)
			if s.has("opt+") {
				all[len(all)-int(s.EOLPad)] = 1
			}
		case packet.KindNOP:
			all = append(all, kind)
		case packet.KindMSS:
			all = append(all, packet.MSS(mss)...)
		case packet.KindScale:
			all = append(all, packet.Scale(scale)...)
		case packet.KindSACK:
			all = append(all, packet.SACKPermitted()...)
		case packet.KindTimestamps:
			all = append(all, packet.Timestamps(7*(1-flag("ts1-")), 7*flag("ts2+"))...)
		case 5: // a block of SACK
			all = append(all, packet.Option(kind, make([]byte, 8)...)...)
		default:
			all, filling = append(all, packet.Option(kind, filling...)...), nil
		}
	}
	return all
}

// frame writes the SYN with all its quirks but bad, which has no one form: a signature that has it fails these tests.
func (s published) frame() []byte {
	f := packet.Frame{Source: netip.MustParseAddr("198.51.100.7"), Dest: netip.MustParseAddr("192.0.2.1"),
		Options: make([]byte, s.IPOptions)}
	if s.version == 6 {
		f = packet.Frame{Source: netip.MustParseAddr("2001:db8::7"), Dest: netip.MustParseAddr("2001:db8::1")}
	}
	mss, window := s.sizes()
	tcp := packet.TCP{SourcePort: s.port, DestPort: 443, Seq: 1000, Flags: packet.SYN, Window: uint16(window),
		Options: s.options(uint16(mss))}
	for quirk, set := range map[string]func(){
		"ecn": func() { tcp.Flags |= packet.ECE | packet.CWR }, "urgf+": func() { tcp.Flags |= packet.URG },
		"pushf+": func() { tcp.Flags |= packet.PSH },
		"seq-":   func() { tcp.Seq = 0 }, "ack+": func() { tcp.Ack = 1 << 24 },
	} {
		if s.has(quirk) {
			set()
		}
	}
	if s.Payload == signature.PayloadSome {
		tcp.Payload = []byte("early")
	}
	f.Body = tcp
	b := f.Bytes()
	ip, ttl := b[packet.EthernetLen:], s.TTL-s.hops
	segment := ip[len(ip)-len(tcp.Payload)-len(tcp.Options)-packet.TCPLen:]
	if s.has("uptr+") {
		segment[19] = 1
	}
	if s.version == 6 {
		ip[7] = ttl
		if s.has("flow") {
			ip[3] = 1
		}
		return b
	}
	ip[8] = ttl
	for quirk, bit := range map[string]uint16{"df": 0x4000, "0+": 0x8000} {
		if s.has(quirk) {
			binary.BigEndian.PutUint16(ip[6:], binary.BigEndian.Uint16(ip[6:])|bit)
		}
	}
	if s.has("id+") || !s.has("df") && !s.has("id-") {
		ip[5] = 1
	}
	return b
}
