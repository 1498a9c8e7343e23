// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"net/netip"
	"testing"
)

// Forged beginnings of hellos, which no socket knows of, do not take a bot's place among those that are not whole.
func TestForgedHellosTakeNoPlace(t *testing.T) {
	eachFamily(t, func(t *testing.T, _, bot, other string) {
		p := open(t)
		r := enter(t, p, nil)
		stream := one(browser(1))
		p.swap(against(p.ja4Of(stream)).bundle())
		forger := p.visits(other, 1, one(browser(9)))
		for i := range 5 {
			b := r.connect(bot, uint16(1000+i), stream)
			b.bytes(0, 1460)
			for port := range 20 * capacity.Hellos {
				forger.k.Source = netip.AddrPortFrom(netip.MustParseAddr(other), uint16(1+port))
				forger.k.Dest = b.k.Dest
				p.wants("a forged segment", "XDP_PASS", forger.bytes(0, 1000))
			}
			p.wants("the bot's second segment", "XDP_DROP", b.bytes(1460, len(stream)))
		}
	})
}

// Forged hellos of a visitor's prefix, or of many, spend nothing of what hellos to sockets may: a bot whose shape
// nobody saw is caught under them.
func TestForgedHellosSpendNoBudget(t *testing.T) {
	eachFamily(t, func(t *testing.T, _, bot, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		onOneProcessor(t)
		h := browser(1)
		c := p.ja4Of(one(h))
		p.swap(against("*_*_" + c[len(c)-12:]).bundle())
		forger := p.visits(bot, 1, nil)
		caught := ""
		port := uint16(0)
		withinASecond(t, func() {
			port++
			h.Ciphers = []uint16{0x1301, 0xc100 + port}
			b := r.connect(bot, 2000+port, one(h))
			p.forget()
			for n := range uint32(shapesPerSecond + 500) {
				forger.k.Source = netip.AddrPortFrom(netip.MustParseAddr(bot), uint16(1+n%60000))
				if n >= 2*shapesPerPrefix {
					forger.k.Source = netip.AddrPortFrom(netip.MustParseAddr(tenth(n)), 1)
				}
				forger.k.Dest = far(forger.k.Source)
				forger.k.Dest = netip.AddrPortFrom(forger.k.Dest.Addr(), webPort)
				forger.stream = distinct(n)
				forger.all()
			}
			caught = b.all(1460)
		})
		p.wants("the bot", "XDP_DROP", caught)
	})
}
