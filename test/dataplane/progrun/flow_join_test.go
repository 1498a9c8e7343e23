// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"fmt"
	"testing"

	"github.com/spillway/spillway/test/support/packet"
)

// "A payload joins its SYN only at seq = ISN + 1": any other number gets nothing of what the SYN said.
func TestPayloadJoinsOnlyAtISNPlusOne(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, nothing())
		p.want("a scanner's SYN", f.scan(f.visitor), passes("no_match"))
		p.swap(denyScanners())
		for _, off := range []uint32{0, 2, 3, 255, 256, 65536, 1 << 24, 1 << 31, ^uint32(0)} {
			p.want(fmt.Sprintf("a hello at ISN + %d", int32(off)), f.data(f.visitor, botISN+off, hello), passes("unconfirmed"))
			p.want(fmt.Sprintf("data at ISN + %d", int32(off)), f.data(f.visitor, botISN+off, request), passes("midstream"))
		}
		p.want("a hello at ISN + 1", f.data(f.visitor, botISN+1, hello), drops("tcp_fingerprint"))
		p.want("data at ISN + 1", f.data(f.visitor, botISN+1, request), drops("tcp_fingerprint"))
		other := f.data(f.visitor, botISN+1, hello)
		tcp := other.Body.(packet.TCP)
		tcp.SourcePort++
		other.Body = tcp
		p.want("another port", other, passes("unconfirmed"))
		p.want("another source", f.data(f.other, botISN+1, hello), passes("unconfirmed"))
		p.wantNoFlow("without a socket")
	})
}

// The same around a live connection: a spoofed SYN with a number of its own, and the payload that fits it, give the
// visitor neither the forger's fingerprint nor the forger's verdict.
func TestSpoofedSYNOnALiveConnection(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		k := r.visit(f.visitor)
		forged := k.isn ^ 0x5a5a5a5a
		spoofed := f.segment(f.visitor, packet.TCP{Seq: forged, Flags: packet.SYN, Window: 1024, Options: scannerOptions})
		p.wantBytes("the visitor's SYN", k.syn, passes("no_match"))
		p.want("the spoofed SYN over it", spoofed, passes("no_match"))
		p.swap(denyScanners())
		p.want("the forged payload that fits it", f.data(f.visitor, forged+1, hello), passes("midstream"))
		flow := p.wantFlow("the visitor's, by its own socket", verdictPass, confirmed)
		if flow.Isn != k.isn {
			t.Errorf("the flow's ISN is %#x, the connection's %#x", flow.Isn, k.isn)
		}
		p.wantBytes("the visitor's first payload", k.write(request), passes("not_hello"))
		p.wantFlow("judged without the forger's SYN", verdictPass, confirmed|firstPayload)
		p.want("the forged payload again", f.data(f.visitor, forged+1, hello), known())
		p.wantBytes("the visitor goes on", k.write(request), known())
	})
}

// "SYN, FIN and RST never delete or relax a flow": at no number and with no fingerprint.
func TestSYNFINRSTNeverDeleteOrRelaxAFlow(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		l := r.listen()
		for _, blocked := range []bool{true, false} {
			k := r.connect(l, f.visitor, true)
			p.want("the SYN of a scanner", k.synAs(f.scan(f.visitor)), passes("no_match"))
			data := known()
			if blocked {
				p.swap(denyScanners())
				p.wantBytes("the first payload", k.write(request), drops("tcp_fingerprint"))
				data = drops("tcp_fingerprint")
			} else {
				p.wantBytes("the first payload", k.write(request), passes("not_hello"))
				p.swap(denyScanners())
			}
			flow, _ := p.flow()
			p.pullAtFlow(k, data)
			p.wantSameFlow("after everything", flow)
			p.wantBytes("more data", k.write(request), data)
			k.reset()
			p.renew(f, false)
		}
	})
}

// pullAtFlow sends what a stack takes as the begin or the end of a connection, and after each the data of the client.
func (p *plane) pullAtFlow(k *conn, data result) {
	p.t.Helper()
	f := k.r.f
	numbers := map[string]uint32{"the ISN": k.isn, "the first byte": k.isn + 1,
		"the next byte": k.isn + 1 + uint32(len(request)),
		"another place": k.isn + 1<<30, "zero": 0}
	flags := map[string]uint8{"SYN": packet.SYN, "FIN": packet.FIN, "FIN ACK": packet.FIN | packet.ACK, "RST": packet.RST,
		"RST ACK": packet.RST | packet.ACK, "SYN ACK": packet.SYN | packet.ACK, "all": 0xff, "none": 0}
	for at, seq := range numbers {
		for name, flag := range flags {
			for stack, options := range map[string][]byte{"browser": browserOptions, "scanner": scannerOptions} {
				window := uint16(64240)
				if stack == "scanner" {
					window = 1024
				}
				frame := f.segment(k.src, packet.TCP{Seq: seq, Ack: 1, Flags: flag, Window: window, Options: options})
				p.run(frame.Bytes()) // its own way is told elsewhere
				p.catchUp()
				p.want(fmt.Sprintf("data after %s at %s of a %s", name, at, stack), k.at(uint32(len(request)), request), data)
			}
		}
	}
}

// "A new confirmed payload at a new ISN + 1 replaces it (port re-use)": a visitor who gets the address and port of a
// blocked bot is served, from the bare ACK of the handshake on.
func TestPortReuseHealsForANewVisitor(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		l := r.listen()
		bot := r.connect(l, f.visitor, true)
		p.scannerKnocks(bot)
		p.wantBytes("its first payload", bot.write(request), drops("tcp_fingerprint"))
		bot.reset()
		p.want("its next data", bot.at(uint32(len(request)), request), drops("tcp_fingerprint"))

		visitor := r.connect(l, f.visitor, true)
		if visitor.isn == bot.isn {
			t.Fatal("the kernel gave two connections one ISN")
		}
		p.wantBytes("the visitor's SYN", visitor.syn, passes("no_match"))
		p.want("the bot's data after that SYN", bot.at(uint32(len(request)), request), drops("tcp_fingerprint"))
		p.want("the bot's first payload again", bot.at(0, request), drops("tcp_fingerprint"))
		p.wantBytes("the visitor's bare ACK", visitor.ack, passes("handshake"))
		p.want("the bot's data after that ACK", bot.at(uint32(len(request)), request), drops("tcp_fingerprint"))
		p.wantBytes("the visitor's first payload", visitor.write(request), passes("not_hello"))
		flow := p.wantFlow("replaced", verdictPass, confirmed|firstPayload|hasFingerprint)
		if flow.Isn != visitor.isn {
			t.Errorf("the flow's ISN is %#x, the new connection's %#x", flow.Isn, visitor.isn)
		}
		p.wantBytes("the visitor goes on", visitor.write(request), known())
	})
}

// The other way round: the port of a visitor, taken over by a bot, is judged anew.
func TestPortReuseIsJudgedAnew(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		l := r.listen()
		visitor := r.connect(l, f.visitor, true)
		p.wantBytes("the visitor's SYN", visitor.syn, passes("no_match"))
		p.wantBytes("the visitor's first payload", visitor.write(request), passes("not_hello"))
		visitor.reset()
		bot := r.connect(l, f.visitor, true)
		p.want("a scanner's SYN", bot.synAs(f.scan(f.visitor)), passes("no_match"))
		p.swap(denyScanners())
		p.wantBytes("its first payload", bot.write(request), drops("tcp_fingerprint"))
		p.wantBytes("its next data", bot.write(request), drops("tcp_fingerprint"))
	})
}

// A blocked client cannot play a new connection: its socket knows the number of the one it has.
func TestBlockedClientCannotForgeANewConnection(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		k := r.visit(f.visitor)
		p.scannerKnocks(k)
		p.wantBytes("its first payload", k.write(request), drops("tcp_fingerprint"))
		flow, _ := p.flow()
		forged := k.isn + 1<<20
		p.want("a SYN as of a browser", f.segment(k.src, packet.TCP{Seq: forged, Flags: packet.SYN, Options: browserOptions}),
			passes("no_match"))
		p.want("a first payload that fits it", f.data(k.src, forged+1, hello), drops("tcp_fingerprint"))
		p.want("the same SYN again", f.segment(k.src, packet.TCP{Seq: forged, Flags: packet.SYN, Options: browserOptions}),
			passes("no_match"))
		p.want("its data in the old connection", k.at(uint32(len(request)), request), drops("tcp_fingerprint"))
		p.wantSameFlow("after all that", flow)
	})
}
