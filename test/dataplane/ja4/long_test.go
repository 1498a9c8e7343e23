// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"slices"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/support/clienthello"
)

// longLists are hellos that have no whole JA4, for a list of theirs is longer than JA4 counts.
var longLists = map[string][]byte{
	"100 ciphers":      withCiphers(run(0xc000, 100)),
	"3,000 ciphers":    withCiphers(run(0x2000, 3000)),
	"100 extensions":   withExtensions(run(0x4000, 100)),
	"3,000 extensions": withExtensions(run(0x4000, 3000)),
	"65 algorithms":    withAlgorithms(run(0x0401, 65)),
	"SSL 2":            sslv2(func(h *clienthello.SSLv2) { h.Ciphers = run(0xc000, 100) }),
	"16,385 bytes":     stuffed(16385),
}

// A list that is too long is no way around on a host that accepts the reason: such a connection is blocked, whatever
// its segments are and in which order they come, and its hello arrives nowhere whole. Those of visitors, up to the
// limits, are served.
func TestLongListsAreNoWayAround(t *testing.T) {
	eachFamily(t, func(t *testing.T, good, bot, _ string) {
		p := open(t)
		p.spendFreely()
		r := enter(t, p, nil)
		h := site()
		h.AcceptReasons = []string{"hello_too_long"}
		p.publishHost(h)
		p.swap(bundle().rule("long", 100).reason("long", "hello_too_long").bundle())
		port := uint16(1000)
		for name, stream := range longLists {
			for _, backwards := range []bool{false, true} {
				port++
				c := r.connect(bot, port, stream)
				parts := clienthello.Segments(stream, segmented(len(stream))...)
				if backwards {
					slices.Reverse(parts)
				}
				dropped := false
				for _, s := range parts {
					dropped = c.data(s.Offset, s.Data) == "XDP_DROP" || dropped
				}
				flow, _ := c.flow()
				if !dropped || flow.Verdict == 0 || bpf.ReasonName(bpf.Reason(flow.Reason)) != "hello_too_long" {
					t.Errorf("%s, backwards %t: dropped %t, the flow is %+v", name, backwards, dropped, flow)
				}
				p.wants(name+": its data afterwards", "XDP_DROP", c.data(0, stream[:min(1000, len(stream))]))
			}
		}
		for name, stream := range map[string][]byte{
			"a browser": one(browser(1)), "99 ciphers": withCiphers(run(0xc000, 99)),
			"99 extensions": withExtensions(run(0x4000, 99)),
			"64 algorithms": withAlgorithms(run(0x0401, 64)),
		} {
			port++
			v := r.connect(good, port, stream)
			p.wants(name, "XDP_PASS", v.all(min(700, len(stream)/2)))
			v.hasRead(name, len(stream))
		}
	})
}
