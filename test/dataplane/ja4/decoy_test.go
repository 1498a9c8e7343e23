// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"fmt"
	"testing"

	"github.com/spillway/spillway/bpf"
)

// decoys are what a bot may let the program see before its hello, in packets that the server ignores.
var decoys = []struct {
	name      string
	data      []byte
	isPartial bool // more bytes could make a hello of it
}{
	{"one byte", []byte{0}, false},
	{"a request", []byte("GET / HTTP/1.1\r\n\r\n"), false},
	{"another whole hello", one(tiny(0x1301)), false},
	{"the beginning of another hello", one(browser(7))[:700], true},
	{"a hello that lies about its length", []byte{0x16, 3, 1, 0, 4, 1, 0, 0, 0}, false},
	{"a hello that is too long", []byte{0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc}, false},
	{"a record without content", []byte{0x16, 3, 1, 0, 0}, true},
	{"a warning", []byte{0x15, 3, 1, 0, 2, 1, 90}, true},
	{"a record without content, and then no record", []byte{0x16, 3, 1, 0, 0, 1, 0, 0, 0, 0}, false},
}

func TestDecoysHideNoBot(t *testing.T) {
	stream := one(browser(1))
	for _, d := range decoys {
		t.Run(d.name, func(t *testing.T) {
			p := open(t)
			p.swap(against(p.ja4Of(stream)).bundle())
			for i, cut := range []int{1, 5, 6, 9, 60, len(d.data), len(d.data) + 1, 500, 1460, len(stream) - 1, len(stream)} {
				port := uint16(2000 + 10*i)
				v := p.visits(botIP, port, stream)
				v.forged(0, d.data)
				p.wants(fmt.Sprintf("before it, cut at %d", cut), "XDP_DROP", v.all(cut))

				v = p.visits(botIP, port+1, stream)
				v.bytes(0, cut)
				v.forged(0, d.data)
				if !d.isPartial && cut < len(stream) {
					p.wants(fmt.Sprintf("after the first segment, cut at %d", cut), "XDP_DROP", v.bytes(cut, len(stream)))
				}
				p.wants(fmt.Sprintf("after the first segment, cut at %d, all again", cut), "XDP_DROP", v.all(cut))
			}
		})
	}
}

// A bot's second segment with other bytes before the true one changes nothing.
func TestDecoyOfTheSecondSegment(t *testing.T) {
	p := open(t)
	stream := one(browser(1))
	p.swap(against(p.ja4Of(stream)).bundle())
	for cut := 1; cut < len(stream); cut += 97 {
		v := p.visits(botIP, uint16(3000+cut), stream)
		p.wants("the first segment", "XDP_PASS", v.bytes(0, cut))
		decoy := make([]byte, len(stream)-cut)
		v.forged(cut, decoy)
		p.wants(fmt.Sprintf("the second segment after a decoy of it, cut at %d", cut), "XDP_DROP", v.bytes(cut, len(stream)))
	}
}

// What a connection's verdict rests on is not taken away by what is sent later.
func TestDecoysTakeNoFingerprintAway(t *testing.T) {
	p := open(t)
	stream := one(browser(1))
	for i, d := range decoys {
		v := p.visits(visitorIP, uint16(4000+i), stream)
		v.all(1460)
		v.wantJA4("a visitor", p.ja4Of(stream))
		v.forged(0, d.data)
		flow, _ := v.flow()
		if flow.Flags&uint8(bpf.FlowHasTLS) == 0 {
			t.Errorf("%s behind the hello: the fingerprint is gone", d.name)
		}
	}
}
