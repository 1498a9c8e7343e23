// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/support/packet"
)

// insidePort is where the server of a port listens that a rule leads elsewhere.
const insidePort = 9443

// redirected is a connection of the visitor to web, which the host file calls local: DNAT leads it to another port of
// the room, so no socket has its numbers, and connection tracking knows it.
func redirected(t *testing.T, f family) (*plane, *conn) {
	t.Helper()
	r := enter(t, f)
	r.track()
	table := map[bool]string{true: "ip", false: "ip6"}[f.server.Is4()]
	rule := fmt.Sprintf(
		"table %s away {\nchain c {\ntype nat hook output priority -100;\ntcp dport %d redirect to :%d\n}\n}",
		table, webPort, insidePort)
	if out, err := exec.Command("nft", rule).CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
	p := open(t)
	if err := p.Conntrack(); err != nil {
		t.Fatal(err)
	}
	p.publish(f.site(), nothing())
	config := net.ListenConfig{}
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", netip.AddrPortFrom(netip.IPv6Unspecified(), insidePort).String())
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return p, r.connect(l.(*net.TCPListener), f.visitor, true)
}

// A connection to a port that is called local, and that DNAT leads away, settles: its hello's own length ends the look,
// for no socket could. From then on its data asks nobody, and a SYN that somebody forges makes one packet ask.
func TestRedirectedPortSettles(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p, k := redirected(t, f)
		more := []byte{0x17, 3, 3, 0, 1, 0}
		end := uint32(len(hello))
		p.want("the SYN", k.synAs(f.syn(f.visitor)), passes("no_match"))
		p.want("the hello", k.next(0, hello, 0), passes("no_match"))
		flow := p.wantFlow("of the hello", verdictPass, tlsFlow)
		if flow.HelloEnd != end || flow.Hint != uint8(bpf.HintNoSocket) {
			t.Errorf("the flow's hello ends at %d, its hints are %d; want %d and %d", flow.HelloEnd, flow.Hint, end, bpf.HintNoSocket)
		}
		k.write(hello)
		k.deliver()
		stay := p.away(bpf.ProgramPayload, bpf.ProgramConntrack)
		p.want("its data", k.next(end, more, 0), known())
		p.want("its FIN", with(k.next(end, nil, 0), packet.FIN|packet.ACK), known())
		if r := p.send(k.next(0, hello, 0).Bytes()); r == known() {
			t.Error("the hello again needs no other program, so this shows nothing")
		}
		stay()
		p.want("the hello again", k.next(0, hello, 0), known())
		p.want("a SYN that somebody forged", f.segment(f.visitor, packet.TCP{Seq: 7, Flags: packet.SYN}), passes("no_match"))
		if flow := p.wantFlow("after a forged SYN", verdictPass, tlsFlow); flow.Hint != uint8(bpf.HintNoSocket|bpf.HintSYN) {
			t.Errorf("its hints are %d", flow.Hint)
		}
		p.want("data that asks", k.next(end, more, 0), known())
		flow = p.wantFlow("that asked", verdictPass, tlsFlow)
		if flow.Hint != uint8(bpf.HintNoSocket) || flow.HelloEnd != end {
			t.Errorf("its hints are %d, its hello ends at %d", flow.Hint, flow.HelloEnd)
		}
		p.away(bpf.ProgramPayload, bpf.ProgramConntrack)
		p.want("more of its data", k.next(end, more, 0), known())
	})
}

// A listed client of such a port is blocked by a stored block, in one segment and in two.
func TestRedirectedPortIsBlocked(t *testing.T) {
	for _, cut := range []int{0, 30} {
		eachFamily(t, func(t *testing.T, f family) {
			p, k := redirected(t, f)
			p.scannerKnocks(k)
			if cut > 0 {
				p.send(k.next(0, hello[:cut], 0).Bytes())
			}
			p.send(k.next(uint32(cut), hello[cut:], 0).Bytes())
			if flow, ok := p.flow(); !ok || flow.Verdict != verdictDrop || flow.Hint != uint8(bpf.HintNoSocket) {
				t.Errorf("the flow is %+v, %t; want it blocked", flow, ok)
			}
			p.away(bpf.ProgramPayload, bpf.ProgramConntrack)
			p.want("more", k.next(uint32(len(hello)), request, 0), drops("tcp_fingerprint").by("stable"))
		})
	}
}
