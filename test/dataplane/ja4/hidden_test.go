// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"fmt"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/clienthello"
	"github.com/spillway/spillway/test/support/packet"
	support "github.com/spillway/spillway/test/support/plane"
)

const (
	hiddenReason = uint8(bpf.ReasonHelloHidden)
	unseenReason = uint8(bpf.ReasonHelloUnseen)
)

// asking is a bundle that blocks who hides a hello, and nobody else.
func asking() *draft { return bundle().rule("hider", 100).reason("hider", "hello_hidden") }

// aside lets the kernel have bytes that never come by the program, as by an interface that has none.
func (c *client) aside(from, to int) {
	c.r.t.Helper()
	frame := c.frame(from, to)
	if _, err := c.r.tun.Write(frame[packet.EthernetLen:]); err != nil {
		c.r.t.Fatal(err)
	}
}

// goesOn sends data behind the hello, and returns how many packets of ten passed before the first that did not.
func (c *client) goesOn() int {
	c.r.t.Helper()
	for n := range 10 {
		if c.data(len(c.stream)+4*n, []byte("data")) != "XDP_PASS" {
			return n
		}
	}
	return 10
}

// tricks are ways to let the server have bytes of the hello that the program does not read.
var tricks = []struct {
	name string
	send func(c *client)
}{
	{"all of it", func(c *client) { c.aside(0, len(c.stream)) }},
	{"its second half", func(c *client) { c.bytes(0, 700); c.aside(700, len(c.stream)) }},
	{"its first half", func(c *client) { c.aside(0, 700); c.bytes(700, len(c.stream)) }},
	{"its first byte", func(c *client) { c.aside(0, 1); c.bytes(1, len(c.stream)) }},
	{"a byte in it", func(c *client) { c.bytes(0, 700); c.aside(700, 701); c.bytes(701, len(c.stream)) }},
	{"its end, which comes first", func(c *client) { c.aside(700, len(c.stream)); c.bytes(0, 700) }},
	{"its middle, last", func(c *client) { c.bytes(0, 300); c.bytes(900, len(c.stream)); c.aside(300, 900) }},
}

// What the server read of a hello and we did not is hello_hidden at the second packet that finds it so.
func TestHiddenHello(t *testing.T) {
	eachFamily(t, func(t *testing.T, _, bot, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		stream := one(browser(1))
		p.swap(asking().bundle())
		for i, trick := range tricks {
			b := r.connect(bot, uint16(1000+i), stream)
			trick.send(b)
			b.hasRead(trick.name, len(stream))
			if n := b.goesOn(); n > 1 {
				t.Errorf("%s: %d packets of ten passed", trick.name, n)
			}
			if flow, ok := b.flow(); !ok || flow.Reason != hiddenReason || flow.Verdict == 0 {
				t.Errorf("%s: the flow does not say why: %+v", trick.name, flow)
			}
			p.wants(trick.name+": what comes again", "XDP_DROP", b.data(len(stream), []byte("data")))
			p.swap(asking().bundle())
			p.wants(trick.name+": after a swap that asks for it, too", "XDP_DROP", b.data(len(stream), []byte("data")))
			p.swap(bundle().bundle())
			p.wants(trick.name+": after a swap that does not", "XDP_PASS", b.data(len(stream), []byte("data")))
			p.swap(asking().bundle())
		}
	})
}

// Where no rule scores it, nobody is blocked for it, and nobody asks at a SYN.
func TestHiddenHelloUnasked(t *testing.T) {
	eachFamily(t, func(t *testing.T, _, bot, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		stream := one(browser(1))
		for i, trick := range tricks {
			for j, b := range []*draft{bundle(), bundle().rule("odd", 100).reason("odd", "hello_unseen"),
				asking().rule("no", -60).reason("no", "hello_hidden")} {
				p.swap(b.bundle())
				c := r.connect(bot, uint16(1000+10*i+j), stream)
				trick.send(c)
				c.hasRead(trick.name, len(stream))
				if n := c.goesOn(); n != 10 {
					t.Errorf("%s, policy %d: packet %d was dropped", trick.name, j, n)
				}
				if flow, _ := c.flow(); flow.HelloEnd != 0 {
					t.Errorf("%s, policy %d: the flow is still asked for: %+v", trick.name, j, flow)
				}
			}
		}
	})
}

// A rule that blocks a connection now did not do so when it began: past its hello only a hidden one cuts it.
func TestHiddenHelloIsNoPretext(t *testing.T) {
	p := open(t)
	r := enter(t, p, nil)
	stream := one(browser(1))
	for i, reason := range []string{"hello_unseen", "hello_order"} {
		b := bundle().rule("odd", 90).reason("odd", reason)
		p.swap(b.bundle())
		c := r.connect(botIP, uint16(1000+i), stream)
		c.bytes(0, 700)
		p.swap(b.rule("bad", 100).prefix("bad", host(c.k.Source.Addr())).bundle())
		c.aside(700, len(stream))
		c.hasRead("a hello", len(stream))
		if n := c.goesOn(); n != 10 {
			t.Errorf("packet %d was dropped", n)
		}
	}
}

// fragments sends a part of the stream in IP fragments of one segment.
func (c *client) fragments(from, to int) {
	c.r.t.Helper()
	whole := c.frame(from, to)
	tcp := whole[len(whole)-(to-from)-20:]
	for at := 0; at < len(tcp); at += 640 {
		end := min(at+640, len(tcp))
		c.feed(packet.Frame{Source: c.k.Source.Addr(), Dest: c.k.Dest.Addr(),
			Fragment: &packet.Fragment{Offset: uint16(at / 8), More: end < len(tcp), ID: c.k.ISN},
			Body:     packet.Raw{Protocol: packet.ProtoTCP, Data: tcp[at:end]}}.Bytes())
	}
}

// disturbances are what a network or we may do to a visitor in the middle of its hello. Each lets the server have all
// of the stream.
var disturbances = []struct {
	name string
	send func(c *client)
}{
	{"a bypass", func(c *client) {
		c.bytes(0, 700)
		c.p.SetBypass(loader.DeadlineForever)
		c.bytes(700, len(c.stream))
		c.p.SetBypass(0)
	}},
	{"a bypass of all of it", func(c *client) {
		c.p.SetBypass(loader.DeadlineForever)
		c.all(700)
		c.p.SetBypass(0)
	}},
	{"a bypass that nobody ended", func(c *client) {
		c.p.SetBypass(loader.DeadlineForever)
		c.all(700)
		c.p.SetBypass(1)
	}},
	{"a bypass that the heartbeat tidied up", func(c *client) {
		c.p.SetBypass(loader.DeadlineForever)
		c.all(700)
		c.p.SetBypass(1)
		c.p.Beat()
	}},
	{"a bypass of its service", func(c *client) {
		c.bytes(0, 700)
		c.p.SetServiceBypass(c.p.idOf("web"), loader.DeadlineForever)
		c.bytes(700, len(c.stream))
		c.p.SetServiceBypass(c.p.idOf("web"), 0)
	}},
	{"another dataplane", func(c *client) {
		c.bytes(0, 700)
		c.aside(700, len(c.stream)) // while there was none
		c.p.must(c.p.RefillPrograms())
	}},
	{"a service that came back", func(c *client) {
		c.aside(0, len(c.stream)) // while it was away
		c.p.publishHost(site())
	}},
	{"fragments", func(c *client) { c.bytes(0, 700); c.fragments(700, len(c.stream)) }},
	{"fragments of all of it", func(c *client) { c.fragments(0, len(c.stream)) }},
	{"a flow that was evicted, late", func(c *client) { c.all(700); c.evict() }},
	{"a flow that was evicted, early", func(c *client) { c.bytes(0, 700); c.evict(); c.bytes(700, len(c.stream)) }},
	{"a flow that was evicted before its rest was aside", func(c *client) {
		c.bytes(0, 700)
		c.evict()
		c.aside(700, len(c.stream))
	}},
	{"a place that was lost", func(c *client) { c.bytes(0, 700); c.p.losePlaces(); c.bytes(700, len(c.stream)) }},
	{"a place that was lost, in three", func(c *client) {
		c.bytes(0, 300)
		c.bytes(300, 700)
		c.p.losePlaces()
		c.bytes(700, len(c.stream))
	}},
	{"a place that was lost, the end first", func(c *client) {
		c.bytes(700, len(c.stream))
		c.p.losePlaces()
		c.bytes(0, 700)
	}},
	{"a SYN that came again, late", func(c *client) {
		c.all(700)
		c.p.must(c.p.Forget(bpf.DataplaneMapSyns))
		c.p.run(c.k.SYN())
		c.evict()
	}},
	{"a SYN that came again, in its hello", func(c *client) {
		c.bytes(0, 700)
		c.p.run(c.k.SYN())
		c.evict()
		c.bytes(700, len(c.stream))
	}},
	{"its end again", func(c *client) {
		c.bytes(700, len(c.stream))
		c.bytes(700, len(c.stream))
		c.bytes(0, 700)
	}},
	{"a stream that ended", func(c *client) {
		c.bytes(0, 700)
		frame := c.segment(packet.ACK|packet.FIN, 700, c.stream[700:])
		c.feed(frame)
		c.feed(frame)
	}},
}

func (c *client) evict() {
	c.p.must(c.p.maps[bpf.DataplaneMapFlows].Delete(c.p.NameOf(support.KeyOf(c.k.Source, c.k.Dest))))
}

func (p *plane) idOf(name string) uint8 {
	p.t.Helper()
	h, err := p.Host()
	p.must(err)
	s, ok := h.Service(name)
	if !ok {
		p.t.Fatalf("no service %s", name)
	}
	return s.ID
}

// losePlaces takes all places of hellos that are not whole away, as a crowd would.
func (p *plane) losePlaces() { p.must(p.Forget(bpf.DataplaneMapHellos)) }

// Nobody whose hello a network or we disturbed is taken for somebody who hides it; nor is he asked about for ever.
func TestVisitorIsNeverHidden(t *testing.T) {
	stream := one(browser(1))
	for _, cookies := range []string{"0", "1", "2"} {
		eachFamily(t, func(t *testing.T, visitor, _, _ string) {
			p := open(t)
			r := enter(t, p, map[string]string{"tcp_syncookies": cookies})
			p.swap(asking().bundle())
			for i, d := range disturbances {
				v := r.connect(visitor, uint16(1000+i), stream)
				d.send(v)
				v.hasRead(d.name, len(stream))
				if n := v.goesOn(); n != 10 {
					flow, _ := v.flow()
					t.Errorf("%s, cookies %s: packet %d was dropped: %+v", d.name, cookies, n, flow)
				}
				if flow, _ := v.flow(); flow.HelloEnd != 0 || flow.Reason == hiddenReason {
					t.Errorf("%s, cookies %s: the flow is %+v", d.name, cookies, flow)
				}
			}
		})
	}
}

// A visitor whose SYN or ACK was answered by a cookie has no flow before its second segment.
func TestVisitorBehindACookieIsNeverHidden(t *testing.T) {
	eachFamily(t, func(t *testing.T, visitor, _, _ string) {
		p := open(t)
		r := enter(t, p, map[string]string{"tcp_syncookies": "2"})
		stream := one(browser(1))
		p.swap(asking().bundle())
		for i, lose := range []bool{false, true} {
			for j, cuts := range [][]int{nil, {1}, {700}, {300, 700}} {
				v := r.dial(visitor, uint16(1000+10*i+j), stream)
				for _, s := range clienthello.Segments(stream, cuts...) {
					v.data(s.Offset, s.Data)
					if lose {
						p.losePlaces()
					}
				}
				v.accept()
				v.hasRead("a visitor", len(stream))
				if n := v.goesOn(); n != 10 {
					t.Errorf("cut at %v, places lost: %v: packet %d was dropped", cuts, lose, n)
				}
			}
		}
	})
}

// A hello that begins in the SYN is taken in before there is a flow.
func TestVisitorWithDataInTheSYNIsNeverHidden(t *testing.T) {
	eachFamily(t, func(t *testing.T, visitor, _, _ string) {
		p := open(t)
		r := enter(t, p, map[string]string{"tcp_fastopen": "1539"})
		h := browser(1)
		replace(h.Extensions, 0x0033, nil)
		stream := one(h)
		p.swap(asking().bundle())
		for i, first := range []int{1, 200, len(stream)} {
			v, action := r.opens(visitor, uint16(1000+i), stream, first)
			p.wants("a SYN with data", "XDP_PASS", action)
			p.losePlaces()
			if first < len(stream) {
				v.bytes(first, len(stream))
			}
			v.hasRead("a visitor", len(stream))
			if n := v.goesOn(); n != 10 {
				t.Errorf("%d bytes in the SYN: packet %d was dropped", first, n)
			}
		}
	})
}

// However a visitor's segments come, in any order, again and again, in any pieces: he is read, or passes.
func TestVisitorInAnyOrderIsNeverHidden(t *testing.T) {
	seed := seedOf(t)
	eachFamily(t, func(t *testing.T, visitor, _, stranger string) {
		p := open(t)
		r := enter(t, p, nil)
		p.swap(asking().bundle())
		for i := range 250 {
			s := newSchedule(seed, uint64(i))
			v := r.connect(visitor, uint16(1000+i), s.stream)
			s.play(v, stranger)
			v.hasRead(s.what(), len(s.stream))
			if n := v.goesOn(); n != 10 {
				flow, _ := v.flow()
				t.Errorf("seed %d, %s: packet %d was dropped: %+v", seed, s.what(), n, flow)
			}
		}
	})
}

func (s *schedule) what() string { return fmt.Sprintf("schedule %d", s.number) }
