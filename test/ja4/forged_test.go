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
