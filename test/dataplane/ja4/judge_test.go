// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"fmt"
	"testing"

	"github.com/spillway/spillway/test/support/packet"
)

// bend is a change of one right segment. Whether the server takes it is for the kernel to say.
type bend struct {
	name string
	bend func(c *timed, s *packet.TCP)
}

// bends are the corners of what Linux asks of a segment.
func bends() []bend {
	all := []bend{{"nothing", func(*timed, *packet.TCP) {}}}
	add := func(name string, f func(c *timed, s *packet.TCP)) { all = append(all, bend{name, f}) }
	for _, f := range fakes {
		add(f.name, f.bend)
	}
	for _, by := range []int32{-1 << 31, 1 - 1<<31, -2, -1, 0, 1, 2, 1<<31 - 1} {
		add(fmt.Sprintf("a timestamp off by %d", by), func(c *timed, s *packet.TCP) {
			s.Options = c.stamps(c.clock + uint32(by))
		})
		add(fmt.Sprintf("a timestamp off by %d, in another place", by), func(c *timed, s *packet.TCP) {
			s.Options = packet.Options(packet.Timestamps(c.clock+uint32(by), c.echo), packet.NOP(), packet.NOP())
		})
	}
	add("no timestamp", func(_ *timed, s *packet.TCP) { s.Options = nil })
	add("a timestamp of 0", func(c *timed, s *packet.TCP) { s.Options = c.stamps(0) })
	add("an old timestamp, then a new one", func(c *timed, s *packet.TCP) {
		s.Options = packet.Options(packet.Timestamps(c.clock-9, c.echo), packet.Timestamps(c.clock, c.echo))
	})
	add("a new timestamp, then an old one", func(c *timed, s *packet.TCP) {
		s.Options = packet.Options(packet.Timestamps(c.clock, c.echo), packet.Timestamps(c.clock-9, c.echo))
	})
	add("an old timestamp behind the end of options", func(c *timed, s *packet.TCP) {
		s.Options = packet.Options(packet.NOP(), packet.EOL(), packet.Timestamps(c.clock-9, c.echo))
	})
	add("an old timestamp that is too long for the header", func(c *timed, s *packet.TCP) {
		s.Options = packet.Options(packet.NOP(), packet.NOP(), packet.Timestamps(c.clock-9, c.echo)[:6])
	})
	add("a timestamp of a wrong length", func(c *timed, s *packet.TCP) {
		s.Options = packet.Option(packet.KindTimestamps, 0, 0, 0, 1)
	})
	add("an echo of what was never sent", func(c *timed, s *packet.TCP) {
		s.Options = packet.Options(packet.NOP(), packet.NOP(), packet.Timestamps(c.clock, c.echo+1<<20))
	})
	for _, by := range []int32{-1 << 31, -1 << 30, -66000, -64241, -64240, -1, 0, 1, 2, 1 << 30} {
		add(fmt.Sprintf("an ACK off by %d", by), func(_ *timed, s *packet.TCP) { s.Ack += uint32(by) })
		add(fmt.Sprintf("an ACK off by %d, another window", by),
			func(_ *timed, s *packet.TCP) { s.Ack += uint32(by); s.Window-- })
		add(fmt.Sprintf("an ACK off by %d, no timestamp", by),
			func(_ *timed, s *packet.TCP) { s.Ack += uint32(by); s.Options = nil })
	}
	for flags := range uint8(64) {
		if flags&packet.RST == 0 { // it ends the socket, and nothing can be asked
			add(fmt.Sprintf("flags %06b", flags), func(_ *timed, s *packet.TCP) {
				s.Flags, s.Urgent = flags, 60000 // no byte of the hello is urgent
			})
		}
	}
	for _, o := range []struct {
		name string
		data []byte
	}{
		{"MD5 of another length", packet.Option(optionMD5, make([]byte, 14)...)},
		{"MD5 behind the end", packet.Options(packet.EOL(), packet.Option(optionMD5, make([]byte, 16)...))},
		{"TCP-AO", packet.Option(29, make([]byte, 14)...)},
		{"an unknown option", packet.Option(254, make([]byte, 6)...)},
		{"an option of length 1", []byte{254, 1, 0, 0}},
		{"SACK", packet.Options(packet.NOP(), packet.NOP(), packet.Option(5, make([]byte, 8)...))},
	} {
		add(o.name, func(_ *timed, s *packet.TCP) { s.Options = o.data })
	}
	return all
}

// The kernel is the judge: what its socket takes is blocked, and for what it does not take no flow is made. Each
// segment is a listed hello at the first byte of a connection; the program says what it thinks, then the socket has it
// all the same.
func TestTheKernelIsTheJudge(t *testing.T) {
	denied := one(browser(1))
	eachFamily(t, func(t *testing.T, _, bot, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		p.swap(against(p.ja4Of(denied)).bundle())
		port := uint16(5000)
		taken, refused := 0, 0
		for _, start := range []uint32{clock, 0, 1, 1 << 31, 1<<32 - 1} {
			for _, b := range bends() {
				for _, early := range []bool{false, true} {
					port++
					c := r.dialTimed(bot, port, start, denied)
					if !early {
						c.ack()
					}
					frame := c.bent(denied, func(s *packet.TCP) { b.bend(c, s) })
					action := p.run(frame)
					_, kept := c.flow()
					if _, err := r.tun.Write(frame[packet.EthernetLen:]); err != nil {
						t.Fatal(err)
					}
					moved := c.hasTaken(early)
					what := fmt.Sprintf("%s, of a clock at %#x, before the handshake's ACK %v", b.name, start, early)
					switch {
					case moved && (action != "XDP_DROP" || !kept):
						t.Errorf("%s: the kernel takes it, and the program says %s, kept %v", what, action, kept)
					case !moved && kept:
						t.Errorf("%s: the kernel does not take it, and a flow is kept", what)
					}
					if moved {
						taken++
					} else {
						refused++
					}
					c.drop()
				}
			}
		}
		t.Logf("%d segments taken, %d refused", taken, refused)
		if taken < 100 || refused < 100 {
			t.Error("too few of one kind: this proves nothing")
		}
	})
}
