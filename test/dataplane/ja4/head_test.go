// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"fmt"
	"testing"

	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/test/support/clienthello"
)

// A feature that names the first part of a JA4 alone is matched without a budget: of 300 new shapes in a flood of
// others none gets through.
func TestWildcardsInAFlood(t *testing.T) {
	for _, c := range []struct {
		name, match string
		stable      bool
	}{{"JA4_a", "t12i120100_*_*", false}, {"stable JA4_a", "t12i120000_*_*", true}} {
		t.Run(c.name, func(t *testing.T) {
			p := open(t)
			if c.stable {
				p.swap(bundle().rule("bot", 100).stable("bot", c.match).bundle())
			} else {
				p.swap(against(c.match).bundle())
			}
			busy := uint64(0)
			for n := range uint32(300) {
				for flood := range uint32(20) {
					p.wants("a stranger", "XDP_PASS", p.visits(tenth(20*n+flood), 7, distinct(20*n+flood)).all())
				}
				h := tiny(run(0xc000+uint16(16*n), 12)...)
				h.Bare, h.Extensions = false, []clienthello.Extension{{Type: 0x0023}}
				v := p.visits(botIP, uint16(1000+n), one(h))
				p.wants(fmt.Sprintf("denied client %d", n), "XDP_DROP", v.all())
				if v.ja4() == "" {
					busy++
				}
			}
			t.Logf("%d of 300 were beyond the budget", busy)
		})
	}
}

// What is too long for JA4 has a first part, and 99 stands for all that is more; the limits are no way around a feature
// that names it.
func TestHeadOfLongLists(t *testing.T) {
	eachFamily(t, func(t *testing.T, visitor, bot, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		late := append(run(0x4000, 140), 0x0000, 0x0015)
		for i, c := range []struct {
			name, head string
			stream     []byte
		}{
			{"100 ciphers", "t13d9916h2", withCiphers(run(0xc000, 100))},
			{"7,000 ciphers", "t13d9916h2", withCiphers(run(0x2000, 7000))},
			{"100 extensions", "t12i019900", withExtensions(run(0x4000, 100))},
			{"server_name behind 140 extensions", "t12d019900", withExtensions(late)},
			{"99 extensions and 50 of GREASE", "t12i019900", withExtensions(greased(run(0x4000, 99), 50))},
			{"98 extensions and 50 of GREASE", "t12i019800", withExtensions(greased(run(0x4000, 98), 50))},
			{"65 algorithms", "t12i010100", withAlgorithms(run(0x0401, 65))},
			{"3,000 algorithms", "t12i010100", withAlgorithms(run(0x0401, 3000))},
		} {
			p.swap(against(c.head + "_*_*").bundle())
			b := r.connect(bot, uint16(1000+i), c.stream)
			p.wants(c.name, "XDP_DROP", b.all(segmented(len(c.stream))...))
			flow, _ := b.flow()
			if got := compile.FormatJA4(flow.Tls)[:10]; got != c.head {
				t.Errorf("%s: %s, want %s", c.name, got, c.head)
			}
			p.swap(against(c.head + "_*_*").bundle())
			p.wants(c.name+", after a swap", "XDP_DROP", b.data(len(c.stream), []byte("data")))
			p.swap(against("t13d9999h2_*_*").bundle())
			v := r.connect(visitor, uint16(1000+i), c.stream)
			p.wants("another "+c.name, "XDP_PASS", v.all(segmented(len(c.stream))...))
		}
	})
}
