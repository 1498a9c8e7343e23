// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
)

// reason returns the reason that one frame was counted with, and where it went.
func (p *plane) reason(frame []byte) (reason, action string) {
	p.t.Helper()
	packets := func() map[loader.Counter]uint64 {
		all := map[loader.Counter]uint64{}
		for _, c := range must(p.Counters()) {
			n := c.Packets
			c.Packets, c.Connections, c.Alone = 0, 0, 0
			all[c] = n
		}
		return all
	}
	before := packets()
	action = p.run(frame)
	for c, n := range packets() {
		if n == before[c] {
			continue
		}
		if reason != "" || n != before[c]+1 {
			p.t.Errorf("more than one counter moved: %s and %s by %d", reason, bpf.ReasonName(c.Reason), n-before[c])
		}
		reason = bpf.ReasonName(c.Reason)
	}
	return reason, action
}

// Every reason why a hello has no fingerprint, or came in an odd way, is counted, and passes.
func TestReasonsAreCounted(t *testing.T) {
	p := open(t)
	stream := one(browser(1))
	all := func(v visitor) []byte { return v.frame(0, len(v.stream)) }
	for i, c := range []struct {
		reason string
		stream []byte
		before func(v visitor)
		last   func(v visitor) []byte
	}{
		{"no_match", stream, nil, all},
		{"hello_partial", stream[:1000], nil, all},
		{"not_hello", []byte("GET / HTTP/1.1\r\n\r\n"), nil, all},
		{"hello_malformed", at(stream, 43, 99), nil, all},
		{"hello_too_long", withCiphers(run(0xc000, 100)), nil, all},
		{"hello_order", stream, func(v visitor) { v.bytes(0, 500) }, func(v visitor) []byte { return v.frame(1000, 1500) }},
		{"hello_overlap", stream, func(v visitor) { v.bytes(0, 1000) },
			func(v visitor) []byte { v.stream = at(v.stream, 700, 1, 2, 3); return v.frame(500, 1200) }},
		{"hello_busy", distinct(99), func(v visitor) {
			for n := range uint32(2 * shapesPerPrefix) {
				p.visits(visitorIP, uint16(100+n), distinct(100+n)).all()
			}
		}, all},
	} {
		got, action := "", ""
		withinASecond(t, func() {
			p.forget()
			v := p.visits(visitorIP, uint16(1+i), c.stream)
			if c.before != nil {
				c.before(v)
			}
			got, action = p.reason(c.last(v))
		})
		if got != c.reason || action != "XDP_PASS" {
			t.Errorf("counted as %s, %s; want %s, XDP_PASS", got, action, c.reason)
		}
	}
}
