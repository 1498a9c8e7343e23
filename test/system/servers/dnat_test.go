// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/test/support/clienthello"
	"github.com/spillway/spillway/test/support/packet"
	"github.com/spillway/spillway/test/support/world"
)

// hello is the stream of Go's client.
func hello(t *testing.T, protocols ...string) []byte {
	t.Helper()
	return clienthello.Records(goHello(t, protocols...))
}

// dnats are Go's server twice: the host file knows that the sockets of the first one are behind, and calls the second
// one's its own, as one does who does not know of the rule.
var dnats = []server{{name: "Go, local: false", port: firstPort}, {name: "Go, local: true", port: firstPort + 1}}

// Connection tracking vouches for connections whose sockets are in another network namespace.
func TestBehindDNAT(t *testing.T) {
	s := newSite(t, len(dnats))
	s.serve(dnats...)
	for i, service := range s.Host.Services {
		s.Host.Services[i].Local = service.Port != places[1].port(dnats[0].port)
		s.Host.Services[i].Confirm = config.ConfirmAuto
	}
	for name, test := range map[string]func(*site, family, server){
		"hellos in segments": (*site).hellosInSegments, "forged pairs": (*site).forgedPairs, "a swap": (*site).swapCutsNobody,
	} {
		for _, f := range families {
			for _, v := range dnats {
				t.Run(name+", "+f.name+", "+v.name, func(t *testing.T) {
					at := *s
					at.t = t
					test(&at, f, v)
				})
			}
		}
	}
}

// A listed hello is blocked and the block stored, in one segment and in more, and a visitor is served.
func (s *site) hellosInSegments(f family, v server) {
	bot, visitor := hello(s.t), hello(s.t, "http/1.1")
	s.publish(deny(s.t, bot))
	for _, cuts := range [][]int{nil, {100}, {3, 100}, {1, 2, 5, 700}} {
		cut := func(stream []byte) (pieces [][]byte) {
			for _, piece := range clienthello.Segments(stream, cuts...) {
				pieces = append(pieces, piece.Data)
			}
			return pieces
		}
		for _, p := range places {
			if err := errors.Join(s.visitor(p, v, f, cut(visitor)...), s.bot(p, v, f, cut(bot)...)); err != nil {
				s.t.Errorf("%s, cut at %v: %v", p.name, cuts, err)
			}
		}
	}
}

// pairs is how many SYNs, each with a byte that fits it, come of ports that nobody uses.
const pairs = 1500

// lucky is how many of them may be taken for connections. Connection tracking takes an ACK up to 66,000 behind the
// server's own number, and the stranger knows his own: one of 65,000 pairs fits by chance, and its flow passes. Three
// of 1,500 are one cell in half a million.
const lucky = 2

// Who forges addresses makes no flow, evicts none, and does not touch the one of a blocked client, nor a visitor's.
func (s *site) forgedPairs(f family, v server) {
	t, dnat, bot := s.t, places[1], hello(s.t)
	s.publish(deny(t, bot))
	blocked, err := s.dial(f.bot(), f.edge, dnat.port(v.port))
	world.Must(t, err)
	defer func() { _ = blocked.SetLinger(0); _ = blocked.Close() }()
	world.Must(t, says(blocked, bot))
	if !until(func() bool { return s.isBlocked(blocked) }) {
		t.Fatalf("the bot is not blocked: %s", readOf(s.flowOf(blocked)))
	}
	open := s.open(f, dnat, v)
	of, _ := s.flowOf(open)
	for i := range uint16(pairs) {
		s.forge(f, f.stranger(), 1024+i, dnat.port(v.port))
	}
	for range 100 {
		s.forge(f, f.bot(), local(blocked).Port(), dnat.port(v.port))
		s.forge(f, f.visitor, local(open).Port(), dnat.port(v.port))
	}
	world.Must(t, talk(open))
	if !s.isBlocked(blocked) {
		t.Errorf("the blocked client's flow is gone: %s", readOf(s.flowOf(blocked)))
	}
	if is, ok := s.flowOf(open); !ok || is.Isn != of.Isn || is.Verdict != verdictPass {
		t.Errorf("the visitor's flow was %+v, and is %+v", of, is)
	}
	if n := s.flowsOf(f.stranger()); n > lucky {
		t.Errorf("%d flows of %d forged pairs, and %d may fit by chance", n, pairs, lucky)
	}
}

// A swap to rules that list the client and its address cuts no connection on its way, whether its flow is remembered or
// not.
func (s *site) swapCutsNobody(f family, v server) {
	t, dnat := s.t, places[1]
	s.publish(world.Bundle(nil, nil))
	remembered, forgotten := s.open(f, dnat, v), s.open(f, dnat, v)
	b := deny(t, hello(t, "http/1.1"))
	b.Prefixes = []config.PrefixList{
		{List: "own", Rule: "bad", Entries: []netip.Prefix{netip.PrefixFrom(f.visitor, f.visitor.BitLen())}}}
	s.publish(b)
	world.Must(t, s.flows.Delete(s.Dataplane.NameOf(keyOf(local(forgotten), remote(forgotten)))))
	for range 3 {
		if err := errors.Join(talk(remembered), talk(forgotten)); err != nil {
			t.Error(err)
		}
	}
}

func (s *site) isBlocked(c net.Conn) bool {
	flow, ok := s.flowOf(c)
	return ok && flow.Verdict == verdictDrop && flow.Flags&confirmed != 0
}

// open is a visitor's connection, with its handshake behind it and talking.
func (s *site) open(f family, p place, v server) *tls.Conn {
	s.t.Helper()
	raw, err := s.dial(f.visitor, f.edge, p.port(v.port))
	world.Must(s.t, err)
	s.t.Cleanup(func() { _ = raw.SetLinger(0); _ = raw.Close() })
	c := tls.Client(raw,
		&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}, ServerName: "www.example.com"})
	world.Must(s.t, talk(c))
	return c
}

// talk says something to Go's server, and waits until it comes back.
func talk(c *tls.Conn) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "again"); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, len("again")))
	return err
}

// stranger is an address from which nobody connects.
func (f family) stranger() netip.Addr {
	if f.edge.Is4() {
		return netip.MustParseAddr("203.0.113.1")
	}
	return netip.MustParseAddr("2001:db8:113::1")
}

// forge sends a SYN and a byte that fits it.
func (s *site) forge(f family, from netip.Addr, sport, dport uint16) {
	s.t.Helper()
	for _, tcp := range []packet.TCP{{Seq: 1000, Flags: packet.SYN},
		{Seq: 1001, Ack: 77, Flags: packet.ACK | packet.PSH, Payload: []byte{0x16}}} {
		tcp.SourcePort, tcp.DestPort, tcp.Window = sport, dport, 64240
		frame := packet.Frame{Source: from, Dest: f.edge, Body: tcp}.Bytes()
		copy(frame, s.EdgeMAC)
		copy(frame[6:], s.OutMAC)
		world.Must(s.t, s.SendFrame(frame))
	}
}

// flowsOf counts what the dataplane keeps of an address.
func (s *site) flowsOf(from netip.Addr) (n int) {
	s.t.Helper()
	var name bpf.FlowName
	var flow bpf.Flow
	rows, want := s.flows.Iterate(), keyOf(netip.AddrPortFrom(from, 0), netip.AddrPortFrom(from, 0)).Saddr
	for rows.Next(&name, &flow) {
		if flow.Saddr == want {
			n++
		}
	}
	world.Must(s.t, rows.Err())
	return n
}
