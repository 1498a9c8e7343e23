// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/clienthello"
	"github.com/spillway/spillway/test/support/fresh"
	"github.com/spillway/spillway/test/support/packet"
)

// Segments of a hello in any order, with any number of gaps, to a socket and to none: a listed client is dropped at the
// one that completes it, a visitor is served.
func TestHelloInAnyOrder(t *testing.T) {
	eachFamily(t, func(t *testing.T, visitor, bot, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		p.spendFreely()
		stream := one(browser(1))
		h := browser(2)
		h.Ciphers = h.Ciphers[:5]
		other := one(h)
		p.swap(against(p.ja4Of(stream)).bundle())
		orders := [][]int{{2, 4, 3, 1}, {4, 2, 3, 1}, {2, 4, 1, 3}, {4, 3, 2, 1}, {6, 4, 2, 1, 3, 5}, {7, 1, 5, 3, 6, 2, 4}}
		random := rand.New(rand.NewPCG(7, 7))
		for n := range 24 {
			order := random.Perm(4 + n%9)
			for i := range order {
				order[i]++
			}
			orders = append(orders, order)
		}
		for i, order := range orders {
			cuts := make([]int, len(order)-1)
			for j := range cuts {
				cuts[j] = (j + 1) * len(stream) / len(order)
			}
			b := r.connect(bot, uint16(1000+i), stream)
			p.wants(fmt.Sprintf("a bot in order %v", order), "XDP_DROP", b.inOrder(order, cuts))
			if order[0] == 1 { // without a socket only the first segment says where the stream begins
				f := p.visits(bot, uint16(1000+i), stream)
				p.wants(fmt.Sprintf("a bot in order %v, without a socket", order), "XDP_DROP", f.inOrder(order, cuts))
			}
			v := r.connect(visitor, uint16(1000+i), other)
			p.wants(fmt.Sprintf("a visitor in order %v", order), "XDP_PASS",
				v.inOrder(order, segmentsOf(len(other), len(order))))
			v.wantJA4(fmt.Sprintf("a visitor in order %v", order), p.ja4Of(other))
			v.hasRead("a visitor", len(other))
		}
	})
}

func segmentsOf(n, count int) (cuts []int) {
	for i := range count - 1 {
		cuts = append(cuts, (i+1)*n/count)
	}
	return cuts
}

// inOrder sends the segments in an order, the first of which is 1, and returns what became of the last one.
func (v visitor) inOrder(order, cuts []int) (last string) {
	v.p.t.Helper()
	all := clienthello.Segments(v.stream, cuts...)
	for _, n := range order {
		last = v.data(all[n-1].Offset, all[n-1].Data)
	}
	return last
}

func (c *client) inOrder(order, cuts []int) (last string) {
	c.p.t.Helper()
	all := clienthello.Segments(c.stream, cuts...)
	for _, n := range order {
		last = c.data(all[n-1].Offset, all[n-1].Data)
	}
	return last
}

// Overlapping segments with other bytes, in any order: what the kernel read is what the server read.
func TestOverlapsAreTheServers(t *testing.T) {
	eachFamily(t, func(t *testing.T, visitor, _, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		p.spendFreely()
		p.swap(bundle().bundle())
		seed := uint64(time.Now().UnixNano())
		if s := fresh.Number(t, "SPILLWAY_SEED", 0); s != 0 {
			seed = s
		}
		t.Logf("SPILLWAY_SEED=%d", seed)
		random := rand.New(rand.NewPCG(seed, 3))
		read := 0
		for n := range 150 {
			// Three versions of one hello: other ciphers at the same places, so that whatever is joined is a hello.
			versions := [][]byte{manyCiphers(0xc100), manyCiphers(0xc300), manyCiphers(0xc500)}
			length := len(versions[0])
			c := r.connect(visitor, uint16(2000+n), versions[0])
			what := ""
			send := func(from, to, version int) {
				what += fmt.Sprintf("[%d,%d)%c ", from, to, 'a'+version)
				c.data(from, versions[version][from:to])
			}
			for range 2 + random.IntN(5) {
				// None begins where another ends: what Linux makes of those depends on the shape of its tree.
				from := 3 * (20 + random.IntN(40))
				send(from, min(from+4+3*random.IntN(20), length), random.IntN(3))
			}
			send(0, 50+random.IntN(40), 0)
			for from := 50; from < length; from += 40 {
				send(from, min(from+40, length), 0)
			}
			got := make([]byte, length)
			_ = c.server.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.ReadFull(c.server, got); err != nil {
				t.Fatalf("%s: the server reads: %v", what, err)
			}
			hello, err := reference.ParseStream(got)
			if err != nil {
				t.Fatalf("%s: the server's bytes are no hello: %v", what, err)
			}
			if c.ja4() == hello.JA4() {
				read++
			} else {
				t.Errorf("%s: JA4 %q, the server read %q", what, c.ja4(), hello.JA4())
			}
		}
		t.Logf("%d read as the server did", read)
	})
}

// manyCiphers is a hello that consists of ciphers: 80 of them.
func manyCiphers(from uint16) []byte { return one(tiny(run(from, 80)...)) }

// An urgent byte anywhere in a hello is taken out of it, as the server's kernel does.
func TestUrgentByte(t *testing.T) {
	eachFamily(t, func(t *testing.T, visitor, bot, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		p.spendFreely()
		stream := one(browser(1))
		p.swap(against(p.ja4Of(stream)).bundle())
		h := browser(2)
		h.Ciphers = h.Ciphers[:4]
		other := one(h)
		for i, urgent := range []int{0, 1, 5, 44, 700, 1459, 1460, 1461, len(other) - 2} {
			for j, order := range [][]int{{1}, {1, 2}, {2, 1}, {1, 2, 3, 4}, {4, 2, 3, 1}} {
				what := fmt.Sprintf("byte %d urgent, order %v", urgent, order)
				port := uint16(3000 + 10*i + j)
				withByte := slices.Insert(slices.Clone(stream), urgent, '!')
				b := r.connect(bot, port, withByte)
				p.wants("a bot, "+what, "XDP_DROP", b.urgently(urgent, order, true))
				v := r.connect(visitor, port, slices.Insert(slices.Clone(other), urgent, '!'))
				p.wants("a visitor, "+what, "XDP_PASS", v.urgently(urgent, order, false))
				v.wantJA4("a visitor, "+what, p.ja4Of(other))
				got := make([]byte, len(other))
				_ = v.server.SetReadDeadline(time.Now().Add(10 * time.Second))
				if _, err := io.ReadFull(v.server, got); err != nil || !bytes.Equal(got, other) {
					t.Errorf("a visitor, %s: the server read something else (%v)", what, err)
				}
			}
		}
	})
}

// urgently sends the stream in this order; the segment of the byte says that it is urgent, or each one that is sent
// before it and may.
func (c *client) urgently(urgent int, order []int, early bool) (last string) {
	c.r.t.Helper()
	all := clienthello.Segments(c.stream, segmentsOf(len(c.stream), len(order))...)
	for _, n := range order {
		s := all[n-1]
		tcp := packet.TCP{SourcePort: c.k.Source.Port(), DestPort: c.k.Dest.Port(), Seq: c.k.ISN + 1 + uint32(s.Offset),
			Ack: c.k.Ack, Flags: packet.ACK | packet.PSH, Window: 64240, Payload: s.Data}
		if isIn := urgent >= s.Offset && urgent < s.Offset+len(s.Data); isIn || early && s.Offset <= urgent {
			tcp.Flags |= packet.URG
			tcp.Urgent = uint16(urgent - s.Offset + 1)
		}
		last = c.feed(packet.Frame{Source: c.k.Source.Addr(), Dest: c.k.Dest.Addr(), Body: tcp}.Bytes())
	}
	return last
}

// Two urgent bytes: which of them is in the hello only the server knows.
func TestTwoUrgentBytes(t *testing.T) {
	p := open(t)
	r := enter(t, p, nil)
	p.swap(telling())
	stream := one(browser(1))
	c := r.connect(visitorIP, 1000, stream)
	for i, s := range clienthello.Segments(stream, 500, 1000) {
		tcp := packet.TCP{SourcePort: c.k.Source.Port(), DestPort: webPort, Seq: c.k.ISN + 1 + uint32(s.Offset), Ack: c.k.Ack,
			Flags: packet.ACK | packet.PSH | packet.URG, Urgent: uint16(100 + i), Window: 64240, Payload: s.Data}
		p.wants("a segment with an urgent byte", "XDP_PASS",
			c.feed(packet.Frame{Source: c.k.Source.Addr(), Dest: c.k.Dest.Addr(), Body: tcp}.Bytes()))
		if i == 1 {
			flow, _ := c.flow()
			if got := classOf(flow); got != "hello_urgent" {
				t.Errorf("after the second urgent byte: %s", got)
			}
		}
	}
}

// Hellos that are longer than any that clients send: long ALPN lists, up to the limit.
func TestLongHellos(t *testing.T) {
	eachFamily(t, func(t *testing.T, visitor, bot, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		p.spendFreely()
		for i, n := range []int{6145, 6815, 8192, 12000, 16000, 16384} {
			h := browser(1)
			names := bytes.Repeat([]byte("\x08http/1.1"), (n-len(one(h)))/9)
			for x := range h.Extensions {
				if h.Extensions[x].Type == reference.ExtALPN {
					list := append(slices.Clone(names), h.Extensions[x].Data[2:]...)
					h.Extensions[x].Data = append([]byte{byte(len(list) >> 8), byte(len(list))}, list...)
				}
			}
			stream := one(h)
			p.swap(bundle().bundle())
			v := r.connect(visitor, uint16(5000+i), stream)
			p.wants("a visitor", "XDP_PASS", v.all(segmented(len(stream))...))
			v.wantJA4(fmt.Sprintf("a visitor with %d bytes", len(stream)), p.ja4Of(stream))
			v.hasRead("a visitor", len(stream))
			p.swap(against(p.ja4Of(stream)).bundle())
			b := r.connect(bot, uint16(5000+i), stream)
			p.wants(fmt.Sprintf("a bot with %d bytes", len(stream)), "XDP_DROP", b.all(segmented(len(stream))...))
			b = r.connect(bot, uint16(5100+i), stream)
			backwards := segmented(len(stream))
			order := make([]int, len(backwards)+1)
			for j := range order {
				order[j] = len(order) - j
			}
			p.wants(fmt.Sprintf("a bot with %d bytes, backwards", len(stream)), "XDP_DROP", b.inOrder(order, backwards))
		}
	})
}
