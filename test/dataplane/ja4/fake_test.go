// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/support/packet"
)

// fake is a segment that its sender made for somebody on the way: the server is meant to ignore it.
type fake struct {
	name string
	bend func(c *timed, s *packet.TCP)
	// want is what becomes of it: what no packet before it could have made acceptable passes.
	want string
	// kills: the server's socket would end by it, so it is not given it.
	kills bool
}

const (
	optionMD5 = 19
	clock     = 0x10000000 // of clients, in the middle of nowhere
)

var fakes = []fake{
	{name: "a wrong checksum", want: "XDP_PASS", bend: func(_ *timed, s *packet.TCP) {
		sum := uint16(0xbad)
		s.Checksum = &sum
	}},
	{name: "a key that the server does not have", want: "XDP_PASS", bend: func(_ *timed, s *packet.TCP) {
		s.Options = packet.Options(packet.Option(optionMD5, make([]byte, 16)...), packet.NOP(), packet.NOP())
	}},
	{name: "a key behind a timestamp", want: "XDP_PASS", bend: func(c *timed, s *packet.TCP) {
		s.Options = packet.Options(packet.Timestamps(c.clock, c.echo), packet.Option(optionMD5, make([]byte, 16)...))
	}},
	{name: "no ACK", want: "XDP_PASS", bend: func(_ *timed, s *packet.TCP) { s.Flags = packet.PSH; s.Ack = 0 }},
	{name: "no flag", want: "XDP_PASS", bend: func(_ *timed, s *packet.TCP) { s.Flags = 0 }},
	{name: "a SYN beside the ACK", want: "XDP_PASS", kills: true,
		bend: func(_ *timed, s *packet.TCP) { s.Flags |= packet.SYN }},
	{name: "an RST beside the ACK", want: "XDP_PASS", kills: true,
		bend: func(_ *timed, s *packet.TCP) { s.Flags |= packet.RST }},
	{name: "an ACK of what was not sent", want: "XDP_PASS", bend: func(_ *timed, s *packet.TCP) { s.Ack++ }},
	{name: "an ACK far ahead", want: "XDP_PASS", bend: func(_ *timed, s *packet.TCP) { s.Ack += 1 << 30 }},
	{name: "an old timestamp", want: "XDP_DROP", bend: func(c *timed, s *packet.TCP) {
		s.Options = c.stamps(c.clock - 2)
	}},
	{name: "a much older timestamp", want: "XDP_DROP",
		bend: func(c *timed, s *packet.TCP) { s.Options = c.stamps(c.clock - 600000) }},
	{name: "an old timestamp out of its place", want: "XDP_DROP", bend: func(c *timed, s *packet.TCP) {
		s.Options = packet.Options(packet.Timestamps(c.clock-600000, c.echo), packet.NOP(), packet.NOP())
	}},
	{name: "an old ACK, with another window", want: "XDP_DROP",
		bend: func(_ *timed, s *packet.TCP) { s.Ack--; s.Window = 1024 }},
	{name: "an ACK of 66,000 bytes ago, with another window", want: "XDP_DROP",
		bend: func(_ *timed, s *packet.TCP) { s.Ack -= 66000; s.Window = 1024 }},
}

// What the server ignores blocks nobody and is forgotten; the visitor is served. With right fields the same bytes are
// blocked.
func TestFakesBlockNobody(t *testing.T) {
	denied, harmless := one(browser(1)), harmless()
	eachFamily(t, func(t *testing.T, visitor, bot, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		p.swap(against(p.ja4Of(denied)).bundle())
		port := uint16(3000)
		for _, f := range fakes {
			for _, early := range []bool{false, true} {
				port++
				name := f.name
				v := r.dialTimed(visitor, port, clock, harmless)
				if early {
					name += ", before the handshake's ACK"
				} else {
					v.ack()
				}
				before := p.notTaken()
				frame := v.bent(denied[:1400], func(s *packet.TCP) { s.Payload = denied; f.bend(v, s) })
				if f.kills {
					p.wants(name, f.want, p.run(frame))
				} else {
					p.wants(name, f.want, v.feed(frame))
				}
				if flow, ok := v.flow(); ok {
					t.Errorf("%s: a flow is kept: %+v", name, flow)
				}
				if got := p.notTaken() - before; got != 1 {
					t.Errorf("%s: counted %d times as not_taken, want once", name, got)
				}
				if early {
					v.ack()
				}
				p.wants("the visitor after "+name, "XDP_PASS", v.feed(v.bent(harmless)))
				v.hasRead("the visitor after "+name, len(harmless))
				v.wantJA4("the visitor after "+name, p.ja4Of(harmless))
			}
		}
		for _, early := range []bool{false, true} {
			port++
			b := r.dialTimed(bot, port, clock, denied)
			if !early {
				b.ack()
			}
			p.wants("the same with right fields", "XDP_DROP", b.feed(b.bent(denied)))
			b.wantJA4("the same with right fields", p.ja4Of(denied))
		}
	})
}

// A fake that comes late, with other bytes in the place of what the server has already, changes nothing either.
func TestLateFakesBlockNobody(t *testing.T) {
	denied, harmless := one(browser(1)), harmless()
	eachFamily(t, func(t *testing.T, visitor, _, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		p.swap(against(p.ja4Of(denied)).bundle())
		for i, f := range append([]fake{{name: "nothing", bend: func(*timed, *packet.TCP) {}}}, fakes...) {
			v := r.dialTimed(visitor, uint16(3000+i), clock, harmless)
			v.ack()
			p.wants("the visitor", "XDP_PASS", v.feed(v.bent(harmless)))
			v.hasRead("the visitor", len(harmless))
			kept, _ := v.flow()
			v.p.run(v.bent(denied, func(s *packet.TCP) { f.bend(v, s) }))
			flow, ok := v.flow()
			flow.HelloEnd = kept.HelloEnd // 0 once the server has it all: then nothing is looked at any more
			flow.Hint = kept.Hint         // a RST leads to a second look at its data, and to nothing else
			if !ok || flow != kept {
				t.Errorf("another hello with %s: the flow is %+v, was %+v", f.name, flow, kept)
			}
			p.wants("the visitor after another hello with "+f.name, "XDP_PASS",
				v.feed(v.bent([]byte("data"), func(s *packet.TCP) {
					s.Seq += uint32(len(harmless))
				})))
		}
	})
}

// What the server ignores hides nothing either: it is not counted among what is held, so that the hello that comes
// then, in whatever order, is read. A far segment makes the flow before.
func TestFakesHideNothing(t *testing.T) {
	denied := one(browser(1))
	eachFamily(t, func(t *testing.T, _, bot, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		p.swap(against(p.ja4Of(denied)).bundle())
		for i, f := range fakes {
			b := r.dialTimed(bot, uint16(3000+i), clock, denied)
			b.ack()
			b.feed(b.bent([]byte("far"), func(s *packet.TCP) { s.Seq += 1 << 20 }))
			fake := b.bent(denied[:200], func(s *packet.TCP) { f.bend(b, s) })
			if f.kills {
				p.run(fake)
			} else {
				b.feed(fake)
			}
			b.feed(b.bent(denied[900:], func(s *packet.TCP) { s.Seq += 900 }))
			p.wants("the bot behind a part with "+f.name, "XDP_DROP", b.feed(b.bent(denied[:900])))
			b.wantJA4("the bot behind a part with "+f.name, p.ja4Of(denied))
		}
	})
}

// Behind a client's FIN the server takes nothing, whatever place in the stream it names.
func TestNothingIsTakenBehindAFIN(t *testing.T) {
	denied := one(browser(1))
	eachFamily(t, func(t *testing.T, visitor, _, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		p.swap(against(p.ja4Of(denied)).bundle())
		for i, at := range []uint32{0, 1, 2} {
			v := r.dialTimed(visitor, uint16(3000+i), clock, nil)
			v.ack()
			v.feed(v.bent(nil, func(s *packet.TCP) { s.Flags = packet.FIN | packet.ACK }))
			before := v.received()
			p.wants("a hello behind a FIN", "XDP_PASS", v.feed(v.bent(denied, func(s *packet.TCP) { s.Seq += at })))
			if after := v.received(); after != before {
				t.Fatalf("the kernel took %d bytes behind a FIN", after-before)
			}
			if flow, _ := v.flow(); flow.Verdict != 0 {
				t.Errorf("a block is kept: %+v", flow)
			}
		}
	})
}

// notTaken counts the packets that had this reason, whatever the service and the slot.
func (p *plane) notTaken() (n uint64) {
	p.t.Helper()
	m := p.maps[bpf.DataplaneMapCounters]
	for i := uint32(bpf.ReasonNotTaken); i < m.MaxEntries(); i += uint32(bpf.ReasonMax) {
		var each []bpf.Counts
		p.must(m.Lookup(i, &each))
		for _, c := range each {
			for _, packets := range c.Packets {
				n += packets
			}
		}
	}
	return n
}
