// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"fmt"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/test/support/packet"
)

// What p0f does not read has no signature: pieces, extension headers, a SYN that is a FIN or an RST too.
func TestSignatureOfWhatP0fDoesNotRead(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		p.swap(denySignature("*:255-:0:*:*,*:mss,sok,ts,nop,ws::*"))
		p.wantFit("usual", "any", f, unchanged, true)
		for _, flag := range []uint8{packet.FIN, packet.RST, packet.FIN | packet.RST} {
			p.wantFit(fmt.Sprintf("flags %#x", flag), "any", f, func(o *opener) { o.tcp.Flags |= flag }, false)
		}
		if f.server.Is4() {
			first := f.usualSYN()
			first.Fragment = &packet.Fragment{More: true, ID: 7}
			p.wantBytes("a first fragment", first.bytes(), passes("no_match"))
			return
		}
		p.wantFit("an extension header", "any", f, func(o *opener) {
			o.Extensions = packet.Extensions(1, packet.DestOptions)
		}, false)
	})
}

// Eight signatures of one layout are tried in the order of the file, and the first that fits counts.
func TestSignaturesAreTriedInOrder(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		var exact []string
		for i := range bpf.SignaturesMax - 1 {
			exact = append(exact, usualSignature(4, fmt.Sprintf("%d,7", 1001+i)))
		}
		broad := usualSignature(4, "*,7")
		last := rules().rule("good", 10).rule("bad", 100).p0f("good", exact...).p0f("bad", broad).bundle()
		first := rules().rule("good", 10).rule("bad", 100).p0f("bad", broad).p0f("good", exact...).bundle()
		for i := range uint16(len(exact) + 1) {
			syn := f.usualSYN()
			syn.tcp.Window = 1001 + i
			p.swap(last)
			want := passes("below_threshold")
			if i == uint16(len(exact)) {
				want = drops("tcp_signature")
			}
			p.wantBytes(fmt.Sprintf("window %d, the broad one last", syn.tcp.Window), syn.bytes(), want)
			p.swap(first)
			p.wantBytes(fmt.Sprintf("window %d, the broad one first", syn.tcp.Window), syn.bytes(), drops("tcp_signature"))
		}
	})
}

// The signature of the SYN counts for the first payload, and with it; and again when the flow is scored again.
func TestSignatureJoinsTheFirstPayload(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		l := r.listen()
		both := rules().rule("stack", 50).rule("client", 45).p0f("stack", usualSignature(6, "")).resetting(80, 95)
		ja4, err := signature.ParseJA4(helloJA4)
		p.must(err)
		both.b.JA4 = []config.JA4Feature{{Rule: "client", Match: ja4}}
		p.swap(both.bundle())
		for fits, c := range map[bool]change{true: unchanged, false: fromTTL(28)} {
			k := r.connect(l, f.visitor, true)
			syn := f.usualSYN()
			syn.tcp.Seq = k.isn
			c(&syn)
			frame := k.at(0, hello)
			if !fits {
				p.wantBytes("another SYN", syn.bytes(), passes("no_match"))
				p.want("its hello alone", frame, passes("below_threshold"))
			} else {
				p.wantBytes("the SYN alone", syn.bytes(), passes("below_threshold"))
				p.wantReset("with its hello", frame.Bytes(), resets("tcp_signature"), k.toServer(frame, k.isn+1))
			}
			k.reset()
			p.forgetFlows()
		}
	})
}

func TestSignatureSurvivesInTheFlow(t *testing.T) {
	onEachFamily(t, func(t *testing.T, p *plane, f family) {
		r := enter(t, f)
		k := r.visit(f.visitor)
		syn := f.usualSYN()
		syn.tcp.Seq = k.isn
		p.wantBytes("the SYN", syn.bytes(), passes("no_match"))
		p.swap(denySignature(usualSignature(6, "")))
		p.want("its first payload", k.at(0, request), drops("tcp_signature"))
		p.want("more", k.at(0, request), drops("tcp_signature"))
		p.swap(denySignature(usualSignature(0, fmt.Sprint(versionOf(f)))))
		p.want("after a swap", k.at(0, request), drops("tcp_signature"))
		p.want("stored", k.at(0, request), drops("tcp_signature"))
		p.swap(denySignature(usualSignature(1, "128-"), usualSignature(1, "128")))
		p.want("after another", k.at(0, request), drops("tcp_signature"))
		p.swap(denySignature(usualSignature(1, "63")))
		p.want("relaxed by one that does not fit", k.at(0, request), passes("no_match"))
		p.want("for good", k.at(100, request), known())
	})
}
