// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"testing"
	"time"
)

// "If the payload at ISN + 1 comes again with other bytes it is parsed again and the stronger verdict wins": nothing
// that comes second makes a block weaker.
func TestSecondFirstPayloadNeverRelaxes(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		k := r.visit(f.visitor)
		p.scannerKnocks(k)
		p.want("the first payload", k.at(0, hello), drops("tcp_fingerprint"))
		flow := p.wantFlow("blocked", verdictDrop, confirmed|firstPayload|hasFingerprint|hasTLS)
		for name, other := range map[string][]byte{"other bytes": request, "one byte": hello[:1], "the same": hello,
			"zeros": make([]byte, 1000)} {
			p.want(name, k.at(0, other), drops("tcp_fingerprint"))
			p.wantSameFlow(name, flow)
		}
	})
}

// Garbage before the true hello does not spare the hello its judgement: the flow that it makes knows the socket's ISN.
func TestGarbageBeforeTheHelloHidesNothing(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		k := r.visit(f.visitor)
		p.scannerKnocks(k)
		for _, n := range []uint32{1, 100, 1 << 16, 1 << 31, ^uint32(1 << 16)} {
			got := p.send(k.at(n, request).Bytes())
			if got.Action != "XDP_PASS" {
				t.Errorf("garbage at byte %d: %+v", n, got)
			}
		}
		p.wantFlow("garbage made a flow that passes", verdictPass, confirmed)
		p.wantBytes("the true hello", k.write(hello), drops("tcp_fingerprint"))
		p.wantFlow("the stronger verdict won", verdictDrop, confirmed|firstPayload|hasFingerprint|hasTLS)
		p.want("garbage after it", k.at(1<<16, request), drops("tcp_fingerprint"))
		p.want("another first payload", k.at(0, request), drops("tcp_fingerprint"))
	})
}

// "No record: a payload that begins with a ClientHello is scored without SYN facts; anything else passes as midstream."
func TestPayloadWithoutARecord(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		p := borrow(t).site(f, f.usual().rule("alone", 60).reason("alone", "unconfirmed").bundle())
		older := append([]byte{0x16, 3, 0}, hello[3:]...)
		newer := append([]byte{0x16, 3, 3}, hello[3:]...)
		p.wantRows([]row{
			{"a hello", f.data(f.visitor, 5, hello), passes("below_threshold")},
			{"a hello of SSL 3", f.data(f.visitor, 5, older), passes("below_threshold")},
			{"a hello of TLS 1.2", f.data(f.visitor, 5, newer), passes("below_threshold")},
			{"a suspect's hello", f.data(f.mild, 5, hello), drops("unconfirmed")},
			{"a suspect's request", f.data(f.mild, 5, request), passes("below_threshold")},
			{"a request", f.data(f.visitor, 5, request), passes("midstream")},
			{"a hello that began earlier", f.data(f.visitor, 5, hello[1:]), passes("midstream")},
			{"a server's hello", f.data(f.visitor, 5, append([]byte{0x16, 3, 3, 2, 0, 2}, hello[6:]...)), passes("midstream")},
			{"an alert", f.data(f.visitor, 5, append([]byte{0x15}, hello[1:]...)), passes("midstream")},
			{"another version", f.data(f.visitor, 5, append([]byte{0x16, 2}, hello[2:]...)), passes("below_threshold")},
			{"a version of no server", f.data(f.visitor, 5, append([]byte{0x16, 16}, hello[2:]...)), passes("midstream")},
			{"a warning in front of a hello", f.data(f.visitor, 5, append([]byte{0x15, 3, 3, 0, 2, 1, 90}, hello...)),
				passes("below_threshold")},
			{"a fatal alert", f.data(f.visitor, 5, []byte{0x15, 3, 3, 0, 2, 2, 40}), passes("midstream")},
			{"change_cipher_spec in front of a hello", f.data(f.visitor, 5, append([]byte{0x14, 3, 3, 0, 1, 1}, hello...)),
				passes("below_threshold")},
			{"an empty record in front of a hello", f.data(f.visitor, 5, append([]byte{0x16, 3, 3, 0, 0}, hello...)),
				passes("below_threshold")},
			{"five bytes of a hello", f.data(f.visitor, 5, hello[:5]), passes("midstream")},
			{"six bytes of a hello", f.data(f.visitor, 5, hello[:6]), passes("below_threshold")},
		})
		p.wantNoFlow("without a socket")

		// A socket that vouches for the number is as good as a record, only that it knows no fingerprint.
		p.swap(denyScanners())
		k := r.visit(f.visitor)
		p.wantBytes("the first payload of a connection whose SYN nobody saw", k.write(hello), passes("no_match"))
		p.wantFlow("confirmed", verdictPass, confirmed|firstPayload|hasTLS)
	})
}

// "Prefix features and bans always apply", to whatever is not a flow that passes.
func TestPrefixesAndBansAlwaysApply(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		p := borrow(t).site(f, f.usual().bundle())
		l := r.listen()
		k := r.connect(l, f.bot, true)
		p.want("a bot's data in the middle of a live connection", k.at(100, request), drops("prefix"))
		p.wantNoFlow("a bot in the middle")
		p.wantBytes("its first payload", k.write(request), drops("prefix"))
		p.wantFlow("a bot", verdictDrop, confirmed|firstPayload)

		p.must(p.Ban(host(f.visitor), time.Hour))
		k = r.connect(l, f.visitor, true)
		p.wantBytes("a banned SYN", k.syn, banned("web"))
		p.want("banned data in the middle", k.at(100, request), banned("web"))
		p.wantBytes("a banned first payload", k.write(request), banned("web"))
		if _, ok := p.flows()[key(f.visitor, f.server, clientPort, webPort)]; ok {
			t.Error("a ban was stored in a flow: it would outlive its end")
		}
	})
}
