// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/spillway/spillway/test/support/packet"
)

// family is one set of addresses; every case runs over both.
type family struct {
	name      string
	server    netip.Addr // of every service
	exact     netip.Addr // of the service api alone
	visitor   netip.Addr // no rule knows it
	other     netip.Addr // another visitor, of another /24 or /48
	bot       netip.Addr // in denied
	denied    netip.Prefix
	protected netip.Addr   // on the allowlist, and in denied
	mild      netip.Addr   // in suspect
	suspect   netip.Prefix // a score below the threshold
}

var families = []family{{
	name:   "IPv4",
	server: addr("192.0.2.1"), exact: addr("192.0.2.80"),
	visitor: addr("203.0.113.10"), other: addr("198.18.7.10"),
	bot: addr("198.51.100.66"), denied: prefix("198.51.100.0/24"), protected: addr("198.51.100.7"),
	mild: addr("203.0.113.200"), suspect: prefix("203.0.113.192/26"),
}, {
	name:   "IPv6",
	server: addr("2001:db8:0:1::1"), exact: addr("2001:db8:0:1::80"),
	visitor: addr("2001:db8:a::10"), other: addr("2001:db8:b::10"),
	bot: addr("2001:db8:bad::66"), denied: prefix("2001:db8:bad::/48"), protected: addr("2001:db8:bad::7"),
	mild: addr("2001:db8:c::200"), suspect: prefix("2001:db8:c::/48"),
}}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func host(a netip.Addr) netip.Prefix {
	return netip.PrefixFrom(a, a.BitLen())
}

// eachFamily runs a test over IPv4 and over IPv6, both at once: each has everything of its own.
func eachFamily(t *testing.T, test func(t *testing.T, f family)) {
	t.Helper()
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			test(t, f)
		})
	}
}

const (
	clientPort = 40000
	webPort    = 443
	dnsPort    = 53
	remotePort = 8443

	// botISN and visitorISN are unlike each other in every byte.
	botISN     = 0x11223344
	visitorISN = 0xaabbccdd
)

// The fingerprints of the two SYNs below, as the bundle writes them.
const (
	scannerFP = "1024:2:1460:"
	browserFP = "64240:2-4-8-1-3:1460:7"
)

var (
	scannerOptions = packet.MSS(1460)
	browserOptions = packet.Options(packet.MSS(1460), packet.SACKPermitted(), packet.Timestamps(1, 0),
		packet.NOP(), packet.Scale(7))
)

// segment is a TCP segment to web unless tcp says otherwise.
func (f family) segment(src netip.Addr, tcp packet.TCP) packet.Frame {
	if tcp.SourcePort == 0 {
		tcp.SourcePort = clientPort
	}
	if tcp.DestPort == 0 {
		tcp.DestPort = webPort
	}
	if tcp.Window == 0 {
		tcp.Window = 64240
	}
	return packet.Frame{Source: src, Dest: f.server, Body: tcp}
}

// syn is a browser's SYN to web.
func (f family) syn(src netip.Addr) packet.Frame {
	return f.segment(src, packet.TCP{Seq: visitorISN, Flags: packet.SYN, Options: browserOptions})
}

// scan is a scanner's SYN to web.
func (f family) scan(src netip.Addr) packet.Frame {
	return f.segment(src, packet.TCP{Seq: botISN, Flags: packet.SYN, Window: 1024, Options: scannerOptions})
}

// data is a segment with payload.
func (f family) data(src netip.Addr, seq uint32, payload []byte) packet.Frame {
	return f.segment(src, packet.TCP{Seq: seq, Ack: 1, Flags: packet.ACK | packet.PSH, Payload: payload})
}

// ack is a segment without payload.
func (f family) ack(src netip.Addr, seq uint32) packet.Frame {
	return f.segment(src, packet.TCP{Seq: seq, Ack: 1, Flags: packet.ACK})
}

func (f family) udp(src netip.Addr, port uint16) packet.Frame {
	return packet.Frame{Source: src, Dest: f.server,
		Body: packet.UDP{SourcePort: clientPort, DestPort: port, Payload: []byte("question")}}
}

var (
	// hello is a whole ClientHello, of 32 zero bytes of random, one cipher suite and no extensions, in a record of TLS
	// 1.0.
	hello = slices.Concat([]byte{0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3}, make([]byte, 33), []byte{0, 2, 0x13, 0x01, 1, 0})
	// request is what a web server reads without TLS.
	request = []byte("GET / HTTP/1.1\r\n\r\n")
)
