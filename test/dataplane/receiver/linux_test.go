// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/spillway/spillway/test/support/packet"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

// run is a segment of one byte again and again.
func run(at, end int, letter byte) segment {
	return segment{at: at, data: bytes.Repeat([]byte{letter}, end-at)}
}

func odd(s segment, change func(*segment)) segment { change(&s); return s }

func urgent(p uint16) func(*segment) {
	return func(s *segment) { s.flags, s.urgent = packet.ACK|packet.URG, p }
}

func fin(s *segment) { s.flags = packet.FIN | packet.ACK }

func flags(f uint8) func(*segment) { return func(s *segment) { s.flags = f } }

// linuxTakes is what a real receiver does with bytes that come more than once, and with segments that are odd. A row is
// a rule that the dataplane must know, or must know that it does not know. Dots are the bytes that close the gap in the
// end.
var linuxTakes = []struct {
	what string
	sent []segment
	want string
}{
	{"the same range twice", []segment{run(5, 10, 'a'), run(5, 10, 'b')}, ".....aaaaa"},
	{"inside of what is queued", []segment{run(5, 15, 'a'), run(7, 10, 'b')}, ".....aaaaaaaaaa"},
	{"from the same start on, longer", []segment{run(5, 10, 'a'), run(5, 15, 'b')}, ".....bbbbbbbbbb"},
	{"around what is queued", []segment{run(10, 15, 'a'), run(5, 20, 'b')}, ".....bbbbbbbbbbbbbbb"},
	{"over the right end", []segment{run(5, 15, 'a'), run(10, 20, 'b')}, ".....aaaaaaaaaabbbbb"},
	{"over the left end", []segment{run(10, 20, 'a'), run(5, 15, 'b')}, ".....bbbbbbbbbbaaaaa"},
	{"over the ends of two", []segment{run(5, 10, 'a'), run(15, 20, 'b'), run(8, 18, 'c')},
		".....aaaaacccccbbbbb"[:10] + "ccccccccbb"},
	{"in order over what is queued", []segment{run(5, 15, 'a'), run(0, 10, 'b')}, "bbbbbbbbbbaaaaa"},
	{"in order around what is queued", []segment{run(5, 10, 'a'), run(0, 15, 'b')}, "bbbbbbbbbbbbbbb"},
	{"over what was taken", []segment{run(0, 10, 'a'), run(5, 15, 'b')}, "aaaaaaaaaabbbbb"},
	{"over one and a part, after they were queued in order",
		[]segment{run(5, 10, 'a'), run(10, 15, 'b'), run(5, 12, 'c')}, ".....aaaaabbbbb"},
	{"over one and a part, after they were queued backwards",
		[]segment{run(10, 15, 'b'), run(5, 10, 'a'), run(5, 12, 'c')}, ".....cccccccbbb"},
	{"before the beginning", []segment{run(-9, 0, 'x'), run(0, 5, 'a')}, "aaaaa"},
	{"from before the beginning on", []segment{run(-9, 5, 'x')}, "xxxxx"},
	{"a keep-alive", []segment{run(0, 5, 'a'), run(4, 5, 'x'), run(5, 9, 'b')}, "aaaaabbbb"},

	{"an urgent byte", []segment{odd(segment{data: []byte("0123456789")}, urgent(5))}, "012356789"},
	{"an urgent byte, pointer 0", []segment{odd(segment{data: []byte("0123456789")}, flags(packet.ACK|packet.URG))},
		"123456789"},
	{"an urgent byte that came first", []segment{odd(segment{at: 5, data: []byte("56789")}, urgent(3))}, ".....5689"},
	{"an urgent byte of a later segment", []segment{odd(run(0, 5, 'a'), urgent(8)), {at: 5, data: []byte("56789")}},
		"aaaaa5689"},
	{"two urgent bytes, of which the application read none",
		[]segment{odd(run(0, 5, 'a'), urgent(3)), odd(run(5, 10, 'b'), urgent(3))}, "aaaaabbbb"},

	{"an urgent pointer without data", []segment{odd(run(0, 0, 0), urgent(5)), {data: []byte("0123456789")}}, "012356789"},
	{"an urgent pointer of old data",
		[]segment{run(0, 5, 'a'), odd(run(0, 5, 'a'), urgent(8)), {at: 5, data: []byte("56789")}}, "aaaaa5689"},

	{"a wrong checksum", []segment{odd(run(0, 5, 'x'), func(s *segment) { s.badSum = true })}, "....."},
	{"an MD5 option", []segment{odd(run(0, 5, 'x'), func(s *segment) { s.md5 = true })}, "....."},
	{"no flags", []segment{odd(run(0, 5, 'x'), func(s *segment) { s.noFlags = true })}, "....."},
	{"no ACK", []segment{odd(run(0, 5, 'x'), flags(packet.PSH))}, "....."},
	{"a SYN", []segment{odd(run(0, 5, 'x'), flags(packet.SYN|packet.ACK))}, "....."},
	{"a clock one tick back", []segment{odd(run(0, 5, 'a'), func(s *segment) { s.clock = -1 })}, "aaaaa"},
	{"a clock two ticks back", []segment{odd(run(0, 5, 'x'), func(s *segment) { s.clock = -2 })}, "....."},
	{"no clock", []segment{odd(run(0, 5, 'a'), func(s *segment) { s.bare = true })}, "aaaaa"},
	{"a clock far ahead", []segment{odd(run(0, 5, 'a'), func(s *segment) { s.clock = 1 << 20 }), run(5, 10, 'x')},
		"aaaaa"},
	{"an ACK of what was not sent", []segment{odd(run(0, 5, 'x'), func(s *segment) { s.ack = 1 })}, "....."},
	{"an ACK of long ago", []segment{odd(run(0, 5, 'x'), func(s *segment) { s.ack = -1 << 30 })}, "....."},
	{"beyond the window", []segment{odd(run(0, 5, 'x'), func(s *segment) { s.at = 1 << 17 })}, "....."},
	{"a FIN, and data behind it", []segment{odd(run(0, 5, 'a'), fin), run(5, 10, 'x')}, "aaaaa"},
	{"a FIN that came first", []segment{odd(run(5, 10, 'a'), fin), run(10, 15, 'x')}, ".....aaaaa"},
	{"a FIN, and data that waits behind it", []segment{run(5, 10, 'x'), odd(run(0, 5, 'a'), fin)}, "aaaaa"},
	{"a FIN inside of what is queued", []segment{run(5, 15, 'a'), odd(run(7, 10, 'b'), fin)}, ".....aaaaaaaaaa"},
	{"a FIN that ends what is queued", []segment{run(5, 10, 'a'), odd(run(7, 10, 'b'), fin), run(12, 15, 'x')},
		".....aaaaa"},
	{"a FIN that ends what is queued, and goes on",
		[]segment{run(5, 10, 'a'), odd(run(7, 10, 'b'), fin), run(10, 15, 'c')}, ".....aaaaaccccc"},
	{"from the start of one with a FIN on, longer", []segment{odd(run(5, 10, 'a'), fin), run(5, 15, 'b')},
		".....bbbbbbbbbb"},
	{"around one with a FIN", []segment{odd(run(7, 10, 'a'), fin), run(5, 15, 'b')}, ".....bbbbbbbbbb"},
	{"around all of one but its FIN", []segment{odd(run(7, 10, 'a'), fin), run(5, 10, 'b'), run(10, 15, 'x')},
		".....bbbbb"},
	{"over the end of one with a FIN", []segment{odd(run(5, 10, 'a'), fin), run(7, 15, 'x')}, ".....aaaaa"},
	{"in order around one with a FIN", []segment{odd(run(5, 10, 'a'), fin), run(0, 15, 'b')}, "bbbbbbbbbbbbbbb"},
	{"in order up to a FIN", []segment{odd(run(5, 10, 'a'), fin), run(12, 15, 'x'), run(0, 10, 'b')}, "bbbbbbbbbb"},
	{"over a FIN without data", []segment{odd(run(10, 10, 0), fin), run(5, 10, 'a'), run(10, 15, 'b')}, ".....aaaaabbbbb"},
	{"beside a FIN without data", []segment{odd(run(10, 10, 0), fin), run(5, 10, 'a'), run(11, 15, 'x')},
		".....aaaaaxxxx"},
	{"a RST that is not exact", []segment{odd(run(1, 1, 0), flags(packet.RST)), run(0, 5, 'a')}, "aaaaa"},
	{"a RST with data", []segment{odd(run(0, 5, 'x'), flags(packet.RST)), run(0, 5, 'x')}, ""},
}

func TestLinuxTakes(t *testing.T) {
	w := world.New(t)
	l, s := newWire(t, w), newServer(t, w, watchPort)
	s.setCookies(1)
	for i, row := range linuxTakes {
		for _, to := range []netip.Addr{lab.EdgeAddr4, lab.EdgeAddr6} {
			from := netip.MustParseAddr("198.18.99.1")
			if to.Is6() {
				from = netip.MustParseAddr("2001:db8:99::1")
			}
			c := &client{l: l, from: netip.AddrPortFrom(from, uint16(2000+i)),
				to: netip.AddrPortFrom(to, watchPort), isn: 0x1000,
				clock: 1 << 20, stamps: true}
			c.open()
			c.send(segment{flags: packet.ACK})
			for _, sent := range row.sent {
				c.send(sent)
			}
			c.send(run(0, 5, '.'))
			lives := s.forget()
			if len(lives) != 1 {
				t.Errorf("%s to %s: %d connections", row.what, to, len(lives))
			} else if got := string(lives[0].served); strings.TrimSuffix(got, "\x00") != row.want {
				t.Errorf("%s to %s: Linux took %q, want %q", row.what, to, got, row.want)
			}
		}
	}
}
