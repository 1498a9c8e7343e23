// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/packet"
	"github.com/spillway/spillway/test/support/world"
)

const (
	drop      = uint8(bpf.VerdictDrop)
	confirmed = uint8(bpf.FlowConfirmed)
)

// say sends the pieces of a stream as segments of their own.
func (s *site) say(f family, pieces ...[]byte) (client string, flows []bpf.Flow) {
	s.t.Helper()
	c, err := s.dial(f.bot, f)
	world.Must(s.t, err)
	s.t.Cleanup(func() { _ = c.SetLinger(0); _ = c.Close() })
	world.Must(s.t, c.SetNoDelay(true))
	for _, p := range pieces {
		_, err := c.Write(p)
		world.Must(s.t, err)
		time.Sleep(50 * time.Millisecond)
	}
	return local(c).String(), s.flows(local(c))
}

// The answer to its SYN proves a connection, also behind a DNAT rule: a denied ClientHello, in one segment and in more,
// is dropped and the block is stored; another one makes a flow that passes.
func TestAnswersProveConnections(t *testing.T) {
	for name, dnat := range map[string]bool{"routed": false, "DNAT": true} {
		t.Run(name, func(t *testing.T) { proveConnections(t, newSite(t, dnat)) })
	}
}

func proveConnections(t *testing.T, s *site) {
	stream := hello(t)
	for _, f := range families {
		s.Publish(s.Host, deny(t, stream))
		for name, pieces := range map[string][][]byte{"one segment": {stream}, "two segments": {stream[:100], stream[100:]},
			"three segments": {stream[:3], stream[3:100], stream[100:]}} {
			before := s.served.Load()
			client, flows := s.say(f, pieces...)
			if len(flows) != 1 || flows[0].Verdict != drop || flows[0].Flags&confirmed == 0 {
				t.Errorf("%s, %s: flows of %s: %+v, want one confirmed drop", f.name, name, client, flows)
			}
			if n := s.served.Load() - before; n > 100 {
				t.Errorf("%s, %s: the server read %d bytes of the denied hello", f.name, name, n)
			}
		}
		s.Publish(s.Host, world.Bundle(nil, nil))
		client, flows := s.say(f, stream)
		if len(flows) != 1 || flows[0].Verdict != 0 || flows[0].Flags&confirmed == 0 {
			t.Errorf("%s: flows of %s: %+v, want one confirmed pass", f.name, client, flows)
		}
		world.Must(t, s.visit(f))
	}
}

// A SYN and data that fit each other, and to which nobody answered, make no flow and store no block, in whatever
// numbers; nor does data on a real connection with numbers that are not its own.
func TestForgedPairsProveNothing(t *testing.T) {
	s := newSite(t, false)
	stream := hello(t)
	s.Publish(s.Host, deny(t, stream))
	for _, f := range families {
		forge := func(port uint16, seq, ack uint32, flags uint8, data []byte) {
			t.Helper()
			frame := packet.Frame{Source: f.bot, Dest: s.servers[f.name],
				Body: packet.TCP{SourcePort: port, DestPort: 443, Seq: seq, Ack: ack, Flags: flags,
					Window: 64240, Payload: data}}
			_, _, err := s.Dataplane.Run(frame.Bytes())
			world.Must(t, err)
		}
		for i := range uint16(200) {
			forge(20000+i, 1000, 0, packet.SYN, nil)
			forge(20000+i, 1001, uint32(i)*7919, packet.ACK|packet.PSH, stream)
			if flows := s.flowsAt(20000 + i); len(flows) != 0 {
				t.Fatalf("%s: a forged pair made %+v", f.name, flows)
			}
		}
		c, err := s.dial(f.bot, f)
		world.Must(t, err)
		port := local(c).Port()
		for i := range uint32(200) {
			forge(port, i*0x01000193, i*7919, packet.ACK|packet.PSH, stream)
		}
		if flows := s.flowsAt(port); len(flows) != 0 {
			t.Errorf("%s: forged data on a connection made %+v", f.name, flows)
		}
		_, err = c.Write([]byte("another hello"))
		world.Must(t, err)
		world.Eventually(t, "its own data makes a flow that passes", func() bool {
			flows := s.flowsAt(port)
			return len(flows) == 1 && flows[0].Verdict == 0 && flows[0].Flags&confirmed != 0
		})
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}

// Under a bypass nothing is noted; a service that does not ask for it has nobody's answers noted; and when it is over
// everything goes on.
func TestBypassNotesNothing(t *testing.T) {
	s := newSite(t, false)
	stream := hello(t)
	s.Publish(s.Host, deny(t, stream))
	for _, f := range families {
		s.Dataplane.SetBypass(loader.In(time.Hour))
		c, err := s.dial(f.bot, f)
		world.Must(t, err)
		s.Dataplane.SetBypass(0)
		_, err = c.Write(stream)
		world.Must(t, err)
		time.Sleep(100 * time.Millisecond)
		if flows := s.flows(local(c)); len(flows) != 0 {
			t.Errorf("%s: noted in a bypass: %+v", f.name, flows)
		}
		_ = c.SetLinger(0)
		_ = c.Close()
		if _, flows := s.say(f, stream); len(flows) != 1 {
			t.Errorf("%s: after the bypass: %+v", f.name, flows)
		}
	}
}
