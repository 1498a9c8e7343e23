// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"slices"
	"testing"

	"github.com/spillway/spillway/test/support/packet"
)

// The next user of a port, whom a socket vouches for, is served; the one before stays blocked, and nothing of what it
// sends again, nor a stranger who knows no number, frees the socket that is there now.
func TestResetAndPortReuse(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		l := r.listen()
		p.swap(denyJA4(helloJA4, false))
		bot := r.connect(l, f.visitor, true)
		frame := bot.at(0, hello)
		p.wantReset("a bot's first payload", frame.Bytes(), resets("ja4"), bot.toServer(frame, bot.isn+1))
		bot.reset()
		visitor := r.connect(l, f.visitor, true)
		old := func(when string) {
			for name, segment := range map[string]packet.Frame{"of the bot": frame,
				"from anywhere": f.data(bot.src, visitor.isn+1<<20, request),
				"from before":   f.data(bot.src, visitor.isn-5000, request)} {
				if got, _ := p.exchange(segment.Bytes()); got.Action == "XDP_PASS" || got.Outcome != "reset" {
					t.Errorf("%s: data %s: %+v; it concerns the visitor's socket", when, name, got)
				}
			}
			for name, segment := range map[string]packet.Frame{"the bot": f.ack(bot.src, bot.isn+1),
				"anywhere": f.ack(bot.src, visitor.isn+1<<20)} {
				p.want(when+": a bare ACK of "+name, segment, passes("handshake"))
			}
		}
		p.wantBytes("a visitor's SYN", visitor.syn, passes("no_match"))
		old("after the visitor's SYN")
		p.wantBytes("the visitor's bare ACK", visitor.ack, passes("handshake"))
		old("after the visitor's ACK")
		other := slices.Clone(hello)
		other[len(other)-3] = 0x02 // another cipher suite
		p.wantBytes("the visitor's first payload", visitor.write(other), passes("no_match"))
		p.wantBytes("the visitor goes on", visitor.write(request), known())
	})
}
