// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"testing"

	"github.com/spillway/spillway/bpf"
)

// liar is a hello whose lengths contradict each other.
var liar = []byte{0x16, 3, 1, 0, 4, 1, 0, 0, 0}

// strongest are streams that give a reason which may block, and where it may: at their first segment or at their
// second.
var strongest = []struct {
	reason   string
	accepted bool // the host file has to accept it
	send     func(c *client) string
}{
	{"hello_malformed", false, func(c *client) string { return c.data(0, liar) }},
	{"hello_overlap", false, func(c *client) string {
		c.p.run(c.frame(0, 700)) // on its way to the socket
		return c.data(0, at(c.stream[:700], 50, 1, 2, 3))
	}},
	{"hello_overlap", false, func(c *client) string {
		c.p.run(c.frame(700, 1400)) // behind a gap
		return c.data(700, at(c.stream[700:1400], 50, 1, 2, 3))
	}},
	{"not_hello", true, func(c *client) string { return c.data(0, []byte("GET / HTTP/1.1\r\n\r\n")) }},
	{"hello_too_long", true, func(c *client) string { return c.data(0, []byte{0x16, 3, 1, 0x40, 0, 1, 0xff, 0, 0}) }},
}

// What only a client makes blocks where a rule scores it and a socket vouches for the connection; what ordinary clients
// make, too, where the host file accepts it besides. Nothing else does, whatever it scores.
func TestStrongReasons(t *testing.T) {
	eachFamily(t, func(t *testing.T, _, bot, _ string) {
		p := open(t)
		r := enter(t, p, nil)
		stream, port := one(browser(1)), uint16(1000)
		for _, accept := range []bool{false, true} {
			h := site()
			if accept {
				h.AcceptReasons = []string{"hello_too_long", "not_hello", "hello_urgent"}
			}
			p.publishHost(h)
			for _, s := range strongest {
				for _, score := range []int{100, 79} {
					p.swap(bundle().rule("odd", score).reason("odd", s.reason).bundle())
					want := "XDP_PASS"
					if score == 100 && (accept || !s.accepted) {
						want = "XDP_DROP"
					}
					port++
					c := r.connect(bot, port, stream)
					p.wants(s.reason, want, s.send(c))
					if flow, _ := c.flow(); want == "XDP_DROP" &&
						(bpf.ReasonName(bpf.Reason(flow.Reason)) != s.reason || flow.Verdict == 0) {
						t.Errorf("%s: the flow is %+v", s.reason, flow)
					}
				}
			}
		}
	})
}

// Of a connection that nobody vouches for anybody could have sent it.
func TestStrongReasonsNeedProof(t *testing.T) {
	p := open(t)
	h := site()
	h.AcceptReasons = []string{"hello_too_long", "not_hello", "hello_urgent"}
	p.publishHost(h)
	d := bundle()
	for _, s := range strongest {
		d.rule(s.reason, 100).reason(s.reason, s.reason)
	}
	p.swap(d.bundle())
	for i, s := range [][]byte{[]byte("GET / HTTP/1.1\r\n\r\n"), liar, {0x16, 3, 1, 0x40, 0, 1, 0xff, 0, 0}} {
		p.wants("a service whose sockets are elsewhere", "XDP_PASS", p.visits(visitorIP, uint16(1+i), s).all())
	}
}
