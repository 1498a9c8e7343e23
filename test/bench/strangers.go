// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/test/support/clienthello"
	"github.com/spillway/spillway/test/support/packet"
)

// What may a packet cost that anybody can send, and one of a connection that a socket vouches for.
const (
	forgedGoal = time.Microsecond
	provenGoal = 25 * time.Microsecond
)

// How many connections make shapes known; one more is a victim, and the rest are those of proven rows.
const knownConnections = 3

// Services of the plane "strange" beside web, by what else is asked there.
var (
	trackedService  = netip.MustParseAddrPort("192.0.2.1:444")
	answeredService = netip.MustParseAddrPort("192.0.2.1:445")
	balancedService = netip.MustParseAddrPort("192.0.2.1:446")
	stripService    = netip.MustParseAddrPort("192.0.2.1:447")
)

func strangeHost(h *config.Host) {
	fewPlaces(h)
	h.Services[0].Confirm = config.ConfirmSocket
	add := func(name string, port uint16, edit func(*config.Service)) {
		s := config.Service{Name: name, Addresses: []config.Address{{}}, Port: port, Kind: config.KindTLS, Local: true,
			Confirm: config.ConfirmSocket}
		edit(&s)
		h.Services = append(h.Services, s)
	}
	add("tracked", trackedService.Port(), func(s *config.Service) { s.Confirm = config.ConfirmAuto })
	add("answered", answeredService.Port(), func(s *config.Service) { s.Confirm, s.Local = config.ConfirmEgress, false })
	add("balanced", balancedService.Port(), func(s *config.Service) { s.ProxyProtocol = true })
	add("strip", stripService.Port(), func(s *config.Service) { s.MPTCP = config.MPTCPStrip })
}

// strangeBundle has features of each common form, and drops fragments.
func strangeBundle(lists func(*config.Bundle)) func(*config.Bundle) {
	return func(b *config.Bundle) {
		lists(b)
		b.Policy[config.DefaultPolicy] = config.Policy{Drop: 80, Fragments: config.FragmentsDrop}
		for _, match := range []string{"t13d1516h2_8daaf6152771_02713d6af862",
			"t13d1516h2_8daaf6152771_*", "t10i0101h1_*_*"} {
			m, err := signature.ParseJA4(match)
			if err != nil {
				panic(err) // a constant
			}
			b.JA4 = append(b.JA4, config.JA4Feature{Rule: "bad", Match: m})
		}
	}
}

// cut is a message in n records.
func cut(message []byte, n int) []byte {
	var cuts []int
	for i := 1; i < n; i++ {
		cuts = append(cuts, i*len(message)/n)
	}
	return clienthello.Records(message, cuts...)
}

var (
	inRecords = cut(small[5:], 64)
	sslv2     = clienthello.SSLv2{Version: 0x0303, Ciphers: []uint16{0x009c, 0x002f, 0x0035, 0xc02f, 0xc02b, 0x00ff},
		Challenge: 32}.Bytes()
)

// strange makes rows of strangers, each from a port of its own.
type strange struct {
	rig  *rig
	rows []*scenario
	err  error
}

// from is who sends a row's packets.
func (s *strange) from() netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("198.51.100.77"), uint16(41000+len(s.rows)))
}

func (s *strange) from6() netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("2001:db8::77"), uint16(41000+len(s.rows)))
}

// earlier shows packets to the dataplane that a row needs to have come before.
func (s *strange) earlier(frames ...[]byte) *strange {
	for _, f := range frames {
		if _, err := s.rig.planes["strange"].root.Run(&ebpf.RunOptions{Data: f}); err != nil {
			s.err = errors.Join(s.err, fmt.Errorf("prepare what strangers send: %w", err))
		}
	}
	return s
}

// row adds one.
func (s *strange) row(what string, frame []byte, reason bpf.Reason, outcome bpf.Outcome) *scenario {
	sc := s.rig.on("strange", what, frame, reason, outcome)
	sc.key, sc.floor, sc.goal = "stranger "+what, helloFloor, forgedGoal
	s.rows = append(s.rows, sc)
	return sc
}

// knownShapes makes shapes known: only what a socket vouches for is remembered.
func (s *strange) knownShapes(streams ...[]byte) {
	for i, stream := range streams[:knownConnections] {
		s.earlier(s.rig.connections[i].payload(stream, 0, len(stream)))
	}
}

const (
	noMatch     = bpf.Reason(bpf.ReasonNoMatch)
	unconfirmed = bpf.Reason(bpf.ReasonUnconfirmed)
	midstream   = bpf.Reason(bpf.ReasonMidstream)
	notTaken    = bpf.Reason(bpf.ReasonNotTaken)
	handshake   = bpf.Reason(bpf.ReasonHandshake)
	knownFlow   = bpf.Reason(bpf.ReasonKnownFlow)
	partial     = bpf.Reason(bpf.ReasonHelloPartial)
	ordered     = bpf.Reason(bpf.ReasonHelloOrder)
	fragmented  = bpf.Reason(bpf.ReasonFragment)
)

// strangerRows are the kinds of packet that somebody can send whom no socket knows.
func (r *rig) strangerRows() ([]*scenario, error) {
	s := &strange{rig: r}
	s.knownShapes(small, largest, modest)
	s.synRows()
	s.helloRows()
	s.pieceRows()
	s.victimRows()
	s.flowRows()
	return s.rows, s.err
}

func (s *strange) synRows() {
	s.row("SYN", synFrame(s.from(), service), noMatch, passed)
	s.row("SYN, IPv6", synFrame(s.from6(), service6), noMatch, passed)
	s.row("SYN with a ClientHello of a known shape", segment(s.from(), service, func(t *packet.TCP) {
		t.Flags, t.Ack, t.Window, t.Options, t.Payload = packet.SYN, 0, 64240, linuxOptions(), small
	}), noMatch, passed)
	strip := segment(s.from(), stripService, func(t *packet.TCP) {
		t.Flags, t.Ack, t.Window = packet.SYN, 0, 64240
		t.Options = packet.Options(linuxOptions(), packet.Option(30, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0))
	})
	s.row("SYN whose MPTCP is stripped", strip, bpf.ReasonMPTCPStripped, passed).each = slices.Repeat([][]byte{strip}, 64)
	s.row("ACK without data", segment(s.from(), service, nil), handshake, passed)
	s.row("first fragment, dropped", s.fragment(0), fragmented, dropped)
	s.row("later fragment", s.fragment(128), fragmented, passed)
}

// fragment is one of a hello's.
func (s *strange) fragment(offset uint16) []byte {
	f := packet.Frame{Source: s.from().Addr(), Dest: service.Addr(),
		Fragment: &packet.Fragment{Offset: offset, More: true, ID: 7}}
	f.Body = packet.TCP{SourcePort: s.from().Port(), DestPort: service.Port(), Seq: 1, Ack: 1,
		Flags: packet.ACK, Payload: small}
	if offset > 0 {
		f.Body = packet.Raw{Protocol: packet.ProtoTCP, Data: small}
	}
	return f.Bytes()
}

// whole is a payload in one segment.
func whole(src, dst netip.AddrPort, stream []byte) []byte {
	return payloadFrame(src, dst, stream, 0, len(stream))
}

func (s *strange) helloRows() {
	unknown := message(14, 15, 7, 517)
	unknownLargest := message(98, 98, 63, 1460)
	s.row("data that is no ClientHello",
		whole(s.from(), service, []byte("GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")), midstream, passed)
	s.row("ClientHello of a known shape", whole(s.from(), service, small), unconfirmed, passed)
	s.row("the same, IPv6", whole(s.from6(), service6, small), unconfirmed, passed)
	s.row("the same, connection tracking asked in vain", whole(s.from(), trackedService, small), unconfirmed, passed)
	s.row("the same, egress and connection tracking asked in vain",
		whole(s.from(), answeredService, small), unconfirmed, passed)
	s.row("of a new shape, beyond the budget", whole(s.from(), service, unknown), unconfirmed, passed)
	s.row("39 ciphers, 20 extensions, 18 algorithms, known shape", whole(s.from(), service, modest), unconfirmed, passed)
	s.row("99 ciphers, 99 extensions, 64 algorithms, known shape, beyond the budget",
		whole(s.from(), service, largest), unconfirmed, passed)
	s.row("the same, new shape, beyond the budget", whole(s.from(), service, unknownLargest), unconfirmed, passed)
	s.row("in SSL 2.0's format", whole(s.from(), service, sslv2), midstream, passed)
	s.row("in 64 records, beyond the budget", whole(s.from(), service, inRecords), unconfirmed, passed)
	v1 := append([]byte("PROXY TCP4 198.51.100.22 203.0.113.7 35646 443\r\n"), small...)
	s.earlier(synFrame(s.from(), balancedService)).row("behind a PROXY header, version 1, beyond the budget",
		whole(s.from(), balancedService, v1), unconfirmed, passed)
	v2 := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x16\xcb\x00\x71\x07\x8b\x3e\x01\xbb"),
		small...)
	s.earlier(synFrame(s.from(), balancedService)).row("behind a PROXY header, version 2, beyond the budget",
		whole(s.from(), balancedService, v2), unconfirmed, passed)
}

func (s *strange) pieceRows() {
	first := func(n int) []byte { return payloadFrame(s.from(), service, large, 0, n) }
	s.row("first 1,400 bytes of a ClientHello, again", first(1400), unconfirmed, passed)
	bad := first(1400)
	bad[len(bad)-1] ^= 1
	s.row("the same with a wrong checksum", bad, notTaken, passed)
	records := s.from()
	s.earlier(whole(records, service, inRecords)).row("first 100 bytes again into 64 held records, beyond the budget",
		payloadFrame(records, service, inRecords, 0, 100), unconfirmed, passed)
	other := slices.Clone(large)
	for i := range other[600:] {
		other[600+i] ^= 0x55
	}
	s.earlier(first(1400)).row("first 1,400 bytes again, others",
		payloadFrame(s.from(), service, other, 0, 1400), unconfirmed, passed)
	s.row("with an urgent pointer", segment(s.from(), service, func(t *packet.TCP) {
		t.Flags, t.Seq, t.Payload, t.Urgent = packet.ACK|packet.PSH|packet.URG, 1001, small, 100
	}), unconfirmed, passed)
}

// victimRows are what a stranger can send into a connection of others whose hello has only begun: its numbers he has to
// guess.
func (s *strange) victimRows() {
	victim := s.rig.connections[knownConnections]
	s.earlier(victim.payload(large, 0, 1000))
	into := func(name string, from, to int, reason bpf.Reason, edit func(*connection, []byte)) {
		v := victim
		edit(&v, nil)
		frame := v.payload(large, from, to)
		edit(&v, frame)
		s.row("into a ClientHello of others: "+name, frame, reason, passed)
	}
	none := func(*connection, []byte) {}
	into("another ACK", 1000, 1740, notTaken, func(v *connection, frame []byte) {
		if frame == nil {
			v.ack += 1 << 30
		}
	})
	into("a wrong checksum", 1000, 1740, notTaken, func(_ *connection, frame []byte) {
		if frame != nil {
			frame[len(frame)-1] ^= 1
		}
	})
	into("all guessed, a byte again", 500, 501, partial, none)
	into("all guessed, a piece behind a gap", 1200, 1740, ordered, none)
}

// flowRows are packets that anybody can send into a connection of others, once blocked and once not.
func (s *strange) flowRows() {
	p := s.rig.planes["strange"]
	for _, v := range []struct {
		name    string
		verdict bpf.Verdict
		reason  bpf.Reason
		outcome bpf.Outcome
	}{{"blocked", bpf.VerdictDrop, bpf.ReasonPrefix, dropped}, {"passing", bpf.VerdictPass, knownFlow, passed}} {
		for _, kind := range []struct {
			name  string
			flags uint8
			data  []byte
		}{{"data", packet.ACK | packet.PSH, small}, {"FIN", packet.ACK | packet.FIN, nil}, {"RST", packet.RST, nil}} {
			from := s.from()
			if err := p.fill([]bpf.FlowKey{flowKey(from, service)}, []bpf.Flow{p.storedFlow(v.verdict)}); err != nil {
				s.err = errors.Join(s.err, err)
			}
			reason, outcome := v.reason, v.outcome
			if kind.name == "RST" && outcome == dropped {
				reason, outcome = handshake, passed
			}
			s.row(fmt.Sprintf("%s of a %s flow", kind.name, v.name), segment(from, service, func(t *packet.TCP) {
				t.Flags, t.Payload = kind.flags, kind.data
			}), reason, outcome)
		}
	}
}
