// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"testing"

	"github.com/spillway/spillway/test/support/packet"
)

// reset ends the connection as its client does, and waits until the server's socket is gone.
func (c *client) reset() {
	c.r.t.Helper()
	c.p.wants("the client's RST", "XDP_PASS", c.feed(c.segment(packet.RST|packet.ACK, uint32(len(c.stream)), nil)))
	if _, err := c.server.Read(make([]byte, 1)); err == nil {
		c.r.t.Fatal("the server did not notice the RST")
	}
	_ = c.server.Close()
}

// segment is a segment of the connection, at bytes behind its ISN + 1.
func (c *client) segment(flags uint8, at uint32, data []byte) []byte {
	return packet.Frame{Source: c.k.Source.Addr(), Dest: c.k.Dest.Addr(), Body: packet.TCP{SourcePort: c.k.Source.Port(),
		DestPort: c.k.Dest.Port(), Seq: c.k.ISN + 1 + at, Ack: c.k.Ack, Flags: flags, Window: 64240, Payload: data}}.Bytes()
}

// A port that is used again is judged again, whatever is sent between: packets of the old connection whose sequence
// numbers mean nothing to the new one, before its handshake ends and after, also where the rest of the hello comes
// first.
func TestPortUsedAgainIsJudgedAgain(t *testing.T) {
	stream := one(browser(1))
	harmless, another := harmless(), another()
	stale := map[string]func(old *client) []byte{
		"nothing":             nil,
		"other bytes":         func(old *client) []byte { return old.segment(packet.ACK, 0, []byte("other bytes")) },
		"another hello":       func(old *client) []byte { return old.segment(packet.ACK, 0, another[:1400]) },
		"another whole hello": func(old *client) []byte { return old.segment(packet.ACK, 0, another) },
		"the same hello":      func(old *client) []byte { return old.segment(packet.ACK, 0, old.stream[:1000]) },
		"data behind the hello": func(old *client) []byte {
			return old.segment(packet.ACK, uint32(len(old.stream)), []byte("x"))
		},
		"an ACK": func(old *client) []byte { return old.segment(packet.ACK, uint32(len(old.stream)), nil) },
	}
	orders := map[string]func(c *client) string{
		"in one":      func(c *client) string { return c.all() },
		"in two":      func(c *client) string { return c.all(700) },
		"second half": func(c *client) string { c.bytes(700, len(c.stream)); return c.bytes(0, 700) },
	}
	eachFamily(t, func(t *testing.T, visitor, _, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		p.swap(against(p.ja4Of(stream)).bundle())
		port := uint16(3000)
		for what, old := range stale {
			for order, send := range orders {
				for _, late := range []bool{false, true} {
					port++
					v := r.connect(visitor, port, harmless)
					p.wants("a harmless hello", "XDP_PASS", v.all())
					v.hasRead("a harmless hello", len(harmless))
					v.reset()

					b := r.dialAs(visitor, port, 0x11000000+uint32(port)<<8, stream)
					if old != nil && !late {
						b.feed(old(v))
					}
					b.ack()
					if old != nil && late {
						b.feed(old(v))
					}
					p.wants("a listed hello "+order+", after "+what, "XDP_DROP", send(b))
					p.wants("the same again", "XDP_DROP", b.all())
				}
			}
		}
	})
}

// Behind a SYN cookie the hello itself makes the socket: where the handshake's ACK never came, there is nobody to ask,
// and the flow of the port's last user says nothing about it.
func TestPortUsedAgainBehindACookie(t *testing.T) {
	eachFamily(t, func(t *testing.T, visitor, _, _ string) {
		p := open(t)
		r := enter(t, p, map[string]string{"tcp_syncookies": "2"})
		stream, harmless := one(browser(1)), harmless()
		p.swap(against(p.ja4Of(stream)).bundle())
		v := r.connect(visitor, 3000, harmless)
		p.wants("a harmless hello", "XDP_PASS", v.all(700))
		v.hasRead("a harmless hello", len(harmless))
		v.reset()
		b := r.dialAs(visitor, 3000, 0x11000000, stream)
		p.wants("a listed hello in place of the ACK", "XDP_DROP", b.all())
		p.wants("the same in two", "XDP_DROP", b.all(700))
	})
}

// A SYN that comes in fragments is answered as any other. Only its ports are read, and that is enough to ask the
// socket. Over IPv6 Linux takes no first fragment without the whole TCP header.
func TestPortUsedAgainByAFragmentedSYN(t *testing.T) {
	p := open(t)
	r := enter(t, p, nil)
	stream, harmless := one(browser(1)), harmless()
	p.swap(against(p.ja4Of(stream)).bundle())
	for i, first := range []int{8, 16} {
		port := uint16(3000 + i)
		v := r.connect(visitorIP, port, harmless)
		p.wants("a harmless hello", "XDP_PASS", v.all())
		v.hasRead("a harmless hello", len(harmless))
		v.reset()
		b := r.fragmented(v, 0x11000000, first, stream)
		b.feed(v.segment(packet.ACK, 0, another()))
		b.ack()
		b.feed(v.segment(packet.ACK, 0, another()))
		p.wants("a listed hello", "XDP_DROP", b.all())
	}
}

// fragmented opens a connection from the same port, by a SYN in two fragments of which the first has n bytes.
func (r *room) fragmented(old *client, isn uint32, n int, stream []byte) *client {
	r.t.Helper()
	c := &client{visitor: visitor{r.p, old.k, stream}, r: r}
	c.k.ISN = isn
	syn := packet.Frame{Source: c.k.Source.Addr(), Dest: c.k.Dest.Addr(), Body: packet.TCP{SourcePort: c.k.Source.Port(),
		DestPort: webPort, Seq: isn, Flags: packet.SYN, Window: 64240, Options: packet.MSS(1460), Payload: nil}}
	whole := syn.Bytes()
	tcp := whole[len(whole)-24:]
	part := func(from, to int) {
		f := syn
		f.Fragment = &packet.Fragment{Offset: uint16(from / 8), More: to < len(tcp), ID: isn}
		f.Body = packet.Raw{Protocol: packet.ProtoTCP, Data: tcp[from:to]}
		r.p.wants("a fragment of a SYN", "XDP_PASS", c.feed(f.Bytes()))
	}
	c.untilAnswered(func() {
		part(0, n)
		part(n, len(tcp))
	})
	return c
}

// harmless and another are hellos that no test's bundle lists.
func harmless() []byte {
	h := browser(2)
	h.Ciphers = h.Ciphers[:5]
	return one(h)
}

func another() []byte {
	h := browser(2)
	h.Ciphers = h.Ciphers[:4]
	return one(h)
}
