// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"net/netip"
	"testing"

	"github.com/spillway/spillway/test/support/clienthello"
	"github.com/spillway/spillway/test/support/packet"
)

// opens sends a SYN with data, and returns what became of it.
func (r *room) opens(source string, port uint16, stream []byte, n int) (*client, string) {
	r.t.Helper()
	from := netip.AddrPortFrom(netip.MustParseAddr(source), port)
	to := netip.AddrPortFrom(server4, webPort)
	if from.Addr().Is6() {
		to = netip.AddrPortFrom(server6, webPort)
	}
	c := &client{visitor: visitor{r.p, clienthello.Connection{Source: from, Dest: to, ISN: 0x77000000 + uint32(port)<<8},
		stream}, r: r}
	syn := packet.Frame{Source: from.Addr(), Dest: to.Addr(), Body: packet.TCP{SourcePort: port, DestPort: webPort,
		Seq: c.k.ISN, Flags: packet.SYN, Window: 64240, Options: packet.MSS(1460), Payload: stream[:n]}}.Bytes()
	action := c.feed(syn)
	if action != "XDP_PASS" {
		return c, action
	}
	again := false
	c.untilAnswered(func() {
		if again {
			r.p.wants("the same SYN again", action, c.feed(syn))
		}
		again = true
	})
	c.accept()
	return c, action
}

// A hello that begins in the SYN (RFC 7413) is read, whole or not. The listener takes such data without a cookie.
func TestHelloInTheSYN(t *testing.T) {
	eachFamily(t, func(t *testing.T, visitor, bot, _ string) {
		p := open(t)
		r := enter(t, p, map[string]string{"tcp_fastopen": "1539"}) // 0x603: for all listeners, no cookie needed
		h := browser(1)
		replace(h.Extensions, 0x0033, nil)
		small := one(h)
		for i, first := range []int{1, 5, 6, 200, len(small) - 1, len(small)} {
			p.swap(bundle().bundle())
			c, action := r.opens(visitor, uint16(1000+i), small, first)
			p.wants("a visitor's SYN", "XDP_PASS", action)
			if first < len(small) {
				p.wants("the rest of a visitor's hello", "XDP_PASS", c.bytes(first, len(small)))
				c.wantJA4("a visitor", p.ja4Of(small))
			}
			c.hasRead("a visitor", len(small))

			p.swap(against(p.ja4Of(small)).bundle())
			c, action = r.opens(bot, uint16(1000+i), small, first)
			if first < len(small) {
				p.wants("a bot's SYN", "XDP_PASS", action)
				action = c.bytes(first, len(small))
			}
			p.wants("a bot's hello", "XDP_DROP", action)
		}
	})
}
