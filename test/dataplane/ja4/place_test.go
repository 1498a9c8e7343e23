// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"fmt"
	"testing"
)

// Connections that share a place among the hellos that are not whole disturb nobody but each other: a fingerprint is
// the connection's own, or there is none until its hello comes again.
func TestSharedPlaces(t *testing.T) {
	p := open(t)
	p.spendFreely()
	bot := one(browser(1))
	p.swap(against(p.ja4Of(bot)).bundle())
	var all []visitor
	for n := range 8 * capacity.Hellos {
		h := browser(uint64(n))
		h.Ciphers = run(0xc000+uint16(n), 3+n%5)
		all = append(all, p.visits(visitorIP, uint16(1+n), one(h)))
	}
	half := func(v visitor) int { return 200 + int(v.k.Source.Port())%1000 }
	for _, v := range all {
		p.wants("a first half", "XDP_PASS", v.bytes(0, half(v)))
	}
	last := p.visits(botIP, 1, bot)
	last.bytes(0, 1460)
	p.wants("the bot, which nobody came after", "XDP_DROP", last.bytes(1460, len(bot)))
	for i, v := range all {
		p.wants("a second half", "XDP_PASS", v.bytes(half(v), len(v.stream)))
		if v.ja4() != "" {
			v.wantJA4(fmt.Sprintf("connection %d", i), p.ja4Of(v.stream))
		}
	}
	for i, v := range all {
		p.run(v.k.SYN()) // another's may be in its place
		p.wants("all of it again", "XDP_PASS", v.all(half(v)))
		v.wantJA4(fmt.Sprintf("connection %d, sent again", i), p.ja4Of(v.stream))
	}
	// A bot whose place was taken over is caught when its hello comes again.
	v := p.visits(botIP, 2, bot)
	v.bytes(0, 1460)
	for _, other := range all {
		other.k.Source = p.visits(visitorIP, other.k.Source.Port()+10000, nil).k.Source
		other.bytes(0, half(other))
	}
	p.wants("a second half whose first one is lost", "XDP_PASS", v.bytes(1460, len(bot)))
	p.wants("the first half again", "XDP_PASS", v.bytes(0, 1460))
	p.wants("the bot again", "XDP_DROP", v.bytes(1460, len(bot)))
}

// A place whose owner's processor died with the lock is free again after a second; until then nobody waits for it.
func TestStaleLock(t *testing.T) {
	p := open(t)
	stream := one(browser(1))
	var kept string
	withinASecond(t, func() {
		p.forget()
		now := coarse(t)
		p.lockPlaces(uint64(now.Nano()))
		v := p.visits(visitorIP, 1, stream)
		p.wants("a hello whose place is locked", "XDP_PASS", v.all(1460))
		kept = v.ja4()
	})
	if kept != "" {
		t.Errorf("a hello whose place is locked was read there: %s", kept)
	}
	p.lockPlaces(1)
	v := p.visits(visitorIP, 2, stream)
	v.all(1460)
	v.wantJA4("a hello whose place was locked long ago", p.ja4Of(stream))
}
