// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"fmt"
	"testing"

	"github.com/spillway/spillway/bpf"
)

const (
	confirmed = uint8(bpf.FlowConfirmed)
	hasTLS    = uint8(bpf.FlowHasTLS)
)

// A hello to a socket of this host, in one and in two segments: a visitor's is kept and served, a bot's is dropped, and
// so is everything that its connection sends later.
func TestHelloToASocket(t *testing.T) {
	eachFamily(t, func(t *testing.T, visitor, bot, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		stream := one(browser(1))
		want := p.ja4Of(stream)
		for i, cuts := range [][]int{nil, {1460}, {1}, {5, 700}} {
			p.swap(bundle().bundle())
			v := r.connect(visitor, uint16(1000+i), stream)
			p.wants("a visitor", "XDP_PASS", v.all(cuts...))
			v.hasRead("a visitor", len(stream))
			v.wantJA4("a visitor", want)
			if flow, _ := v.flow(); flow.Flags&confirmed == 0 {
				t.Error("the visitor's flow is not confirmed")
			}
			p.swap(against(want).bundle())
			p.wants("an established connection after a swap", "XDP_PASS", v.all(cuts...))
			p.wants("and its data", "XDP_PASS", v.data(len(stream), []byte("data")))

			b := r.connect(bot, uint16(1000+i), stream)
			p.wants("a bot", "XDP_DROP", b.all(cuts...))
			p.wants("its hello again", "XDP_DROP", b.all(cuts...))
			p.wants("other data at the same place", "XDP_DROP", b.data(0, []byte("GET / HTTP/1.1\r\n\r\n")))
			p.wants("data behind it", "XDP_DROP", b.data(len(stream), []byte("data")))
			if flow, _ := b.flow(); flow.Flags&hasTLS == 0 || flow.Reason != uint8(bpf.ReasonJA4) {
				t.Errorf("the bot's flow does not say why: %+v", flow)
			}
		}
	})
}

// A flow that a JA4 blocked heals when the bundle is taken back; a visitor's retransmission then arrives.
func TestRollbackHeals(t *testing.T) {
	eachFamily(t, func(t *testing.T, visitor, _, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		stream := one(browser(1))
		p.swap(bundle().bundle())
		p.swap(against(p.ja4Of(stream)).bundle())
		v := r.connect(visitor, 1000, stream)
		p.wants("a mistake", "XDP_DROP", v.all(700))
		if _, err := p.Promote(); err == nil {
			t.Fatal("there was no candidate")
		}
		p.swap(bundle().bundle())
		p.wants("its retransmission after the mistake was taken back", "XDP_PASS", v.all(700))
		v.hasRead("the visitor", len(stream))
		v.wantJA4("the visitor", p.ja4Of(stream))
	})
}

// Two segments of a hello may change places: the socket has received nothing, and says where the stream begins.
func TestHelloOutOfOrder(t *testing.T) {
	eachFamily(t, func(t *testing.T, visitor, bot, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		stream := one(browser(1))
		p.swap(against(p.ja4Of(stream)).rule("odd", 5).reason("odd", "hello_order").bundle())
		for i, cut := range []int{1, 5, 6, 9, 43, 800, 1460, len(stream) - 1} {
			b := r.connect(bot, uint16(2000+i), stream)
			p.wants("a bot's second segment", "XDP_PASS", b.bytes(cut, len(stream)))
			p.wants(fmt.Sprintf("a bot's first segment, cut at %d", cut), "XDP_DROP", b.bytes(0, cut))
			p.wants("all of it again", "XDP_DROP", b.all(cut))
		}
		h := browser(2)
		h.Ciphers = h.Ciphers[:5]
		v := r.connect(visitor, 2000, one(h))
		v.bytes(900, len(v.stream))
		p.wants("a visitor", "XDP_PASS", v.bytes(0, 900))
		v.wantJA4("a visitor", p.ja4Of(one(h)))
		v.hasRead("a visitor", len(v.stream))
	})
}

// Behind SYN cookies there is no socket before the handshake's ACK. When that is lost, the first segment of the hello
// comes first, and makes the socket.
func TestHelloBehindACookie(t *testing.T) {
	eachFamily(t, func(t *testing.T, visitor, bot, _ string) {
		p := open(t)
		r := enter(t, p, map[string]string{"tcp_syncookies": "2"})
		stream := one(browser(1))
		want := p.ja4Of(stream)
		for i, cuts := range [][]int{nil, {1460}, {1}, {60}, {700}} {
			p.swap(bundle().bundle())
			v := r.dial(visitor, uint16(1000+i), stream)
			p.wants("a visitor", "XDP_PASS", v.all(cuts...))
			v.accept()
			v.hasRead("a visitor", len(stream))
			if len(cuts) > 0 {
				v.wantJA4(fmt.Sprintf("a visitor, cut at %v", cuts), want)
			}
			p.swap(against(want).bundle())
			b := r.dial(bot, uint16(1000+i), stream)
			p.wants(fmt.Sprintf("a bot, cut at %v", cuts), "XDP_DROP", b.all(cuts...))
			p.wants(fmt.Sprintf("a bot, cut at %v, again", cuts), "XDP_DROP", b.all(cuts...))
		}
	})
}

// A decoy that the socket never takes hides no bot from it.
func TestDecoysBeforeASocket(t *testing.T) {
	eachFamily(t, func(t *testing.T, _, bot, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		stream := one(browser(1))
		p.swap(against(p.ja4Of(stream)).bundle())
		for i, d := range decoys {
			for j, cut := range []int{1, 60, 1460} {
				b := r.connect(bot, uint16(1000+10*i+j), stream)
				b.forged(0, d.data)
				p.wants(fmt.Sprintf("%s, cut at %d", d.name, cut), "XDP_DROP", b.all(cut))
			}
		}
	})
}

// Between the halves of a hello a decoy of the first changes nothing: the socket has taken that in already.
func TestDecoysBetweenTheHalves(t *testing.T) {
	eachFamily(t, func(t *testing.T, _, bot, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		stream := one(browser(1))
		p.swap(against(p.ja4Of(stream)).bundle())
		for i, decoy := range [][]byte{one(browser(7))[:700], stream[:6], at(stream[:1460], 50, 1, 2, 3),
			at(stream[:1460], 3, 9, 9)} {
			for j, cut := range []int{1, 5, 43, 500, 700, 1460} {
				b := r.connect(bot, uint16(1000+10*i+j), stream)
				p.wants("a bot's first segment", "XDP_PASS", b.bytes(0, cut))
				b.hasRead("a bot's first segment", cut)
				b.forged(0, decoy)
				p.wants(fmt.Sprintf("its second after decoy %d, cut at %d", i, cut), "XDP_DROP", b.bytes(cut, len(stream)))
			}
		}
	})
}
