// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/support/packet"
)

// "Only a confirmed first payload makes a flow: an established socket…"
func TestEstablishedSocketConfirms(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		l := r.listen()
		p.want("a forged hello: there is only a listener", f.data(f.visitor, botISN+1, hello), passes("unconfirmed"))
		p.want("a forged SYN", f.syn(f.visitor), passes("no_match"))
		p.want("and its payload", f.data(f.visitor, visitorISN+1, request), passes("unconfirmed"))
		p.wantNoFlow("forged payloads")

		k := r.connect(l, f.visitor, true)
		p.wantBytes("the SYN", k.syn, passes("no_match"))
		p.wantBytes("the ACK", k.ack, passes("handshake"))
		p.wantNoFlow("a handshake")
		p.wantBytes("the first payload", k.write(request), passes("not_hello"))
		flow := p.wantFlow("confirmed", verdictPass, confirmed|firstPayload|hasFingerprint)
		if flow.Isn != k.isn {
			t.Errorf("the flow's ISN is %#x, the connection's %#x", flow.Isn, k.isn)
		}
		if _, ok := p.flows()[key(f.visitor, f.server, clientPort, webPort)]; !ok {
			t.Errorf("the flow has another key: %+v", p.flows())
		}
		p.wantBytes("more data", k.write(request), known())
		p.want("an ACK", f.ack(f.visitor, k.isn+2), known())
	})
}

// "…or a request socket whose ISN fits": the listener defers, so the handshake rests in a request socket.
func TestRequestSocketConfirms(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		l := r.listenWith(deferring, false)
		k := r.connect(l, f.visitor, false)
		p.wantBytes("the SYN", k.syn, passes("no_match"))
		p.wantBytes("the ACK", k.ack, passes("handshake"))
		forged := f.segment(f.visitor, packet.TCP{Seq: k.isn + 50, Flags: packet.SYN, Window: 1024, Options: scannerOptions})
		p.want("a forged SYN with another ISN", forged, passes("no_match"))
		p.want("a forged payload that fits it", f.data(f.visitor, k.isn+51, request), passes("not_taken"))
		p.want("a forged payload that fits nothing", f.data(f.visitor, k.isn+100, request), passes("not_taken"))
		p.want("one far behind the beginning", f.data(f.visitor, k.isn+100_000, request), passes("midstream"))
		p.wantNoFlow("a request socket with another ISN")
		p.want("the first payload", k.at(0, request), passes("not_hello"))
		p.wantFlow("its SYN was overwritten by the forged one", verdictPass, confirmed|firstPayload)
	})
}

// Sockets of a listener that speaks multipath TCP confirm like others. Go's listeners do by default.
func TestMultipathSocketConfirms(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		k := r.connect(r.listenWith(nil, true), f.visitor, true)
		p.wantBytes("the SYN", k.syn, passes("no_match"))
		p.wantBytes("the first payload", k.write(request), passes("not_hello"))
		p.wantFlow("confirmed", verdictPass, confirmed|firstPayload|hasFingerprint)
	})
}

// A listener for both families has IPv6 sockets for IPv4 connections.
func TestDualStackSocketConfirms(t *testing.T) {
	f := families[0]
	for name, deferred := range map[string]bool{"established": false, "request": true} {
		t.Run(name, func(t *testing.T) {
			r := enter(t, f)
			p := borrow(t).site(f, nothing())
			config := net.ListenConfig{}
			if deferred {
				config.Control = deferring
			}
			config.SetMultipathTCP(false)
			l, err := config.Listen(t.Context(), "tcp", fmt.Sprintf("[::]:%d", webPort))
			p.must(err)
			t.Cleanup(func() { _ = l.Close() })
			k := r.dial(f.visitor, f.server)
			p.wantBytes("the SYN", k.syn, passes("no_match"))
			p.want("the first payload", k.at(0, request), passes("not_hello"))
			p.wantFlow("confirmed", verdictPass, confirmed|firstPayload|hasFingerprint)
		})
	}
}

// A connection whose SYN carried data that the server took (Fast Open, RFC 7413) knows its ISN all the same.
func TestFastOpenSocketConfirms(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		// 1 and 2: client and server; 4 and 0x200: without a cookie.
		p.must(os.WriteFile("/proc/sys/net/ipv4/tcp_fastopen", []byte(strconv.Itoa(1|2|4|0x200)), 0o644))
		l := r.listenWith(fastOpening, false)
		k := r.fastOpen(f.visitor, request)
		p.wantBytes("the SYN with data", k.syn, passes("no_match"))
		p.must(l.SetDeadline(time.Now().Add(10 * time.Second)))
		s, err := l.AcceptTCP()
		p.must(err)
		t.Cleanup(func() { _ = s.Close() })
		got := make([]byte, len(request))
		if _, err := io.ReadFull(s, got); err != nil || string(got) != string(request) {
			t.Fatalf("the server read %q, %v", got, err)
		}
		p.want("the data after it", k.at(uint32(len(request)), request), passes("midstream"))
		if flow := p.wantFlow("adopted", verdictPass, confirmed|firstPayload); flow.Isn != k.isn {
			t.Errorf("the flow's ISN is %#x, the connection's %#x", flow.Isn, k.isn)
		}
	})
}

// A flow that a forger provokes on a live connection is that connection's own, passes, and hides nothing.
func TestForgedPayloadOnALiveConnection(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		k := r.visit(f.visitor)
		p.scannerKnocks(k)
		p.want("a forged payload before the first", k.at(70000, request), passes("midstream"))
		flow := p.wantFlow("adopted", verdictPass, confirmed)
		if flow.Isn != k.isn {
			t.Errorf("the flow's ISN is %#x, the socket's %#x", flow.Isn, k.isn)
		}
		p.wantBytes("the true first payload is still judged", k.write(hello), drops("tcp_fingerprint"))
		p.wantFlow("judged", verdictDrop, confirmed|firstPayload|hasFingerprint|hasTLS)
	})
}

// A service whose sockets are elsewhere, and whose connections nobody vouches for, has no flows: each payload is judged
// by itself.
func TestWhatNobodyVouchesForHasNoFlow(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, nothing())
		far := func(frame packet.Frame) packet.Frame {
			tcp := frame.Body.(packet.TCP)
			tcp.DestPort = remotePort
			frame.Body = tcp
			return frame
		}
		p.want("a SYN", far(f.syn(f.visitor)), passes("no_match").of("far"))
		p.want("data at another place", far(f.data(f.visitor, visitorISN+2, request)), passes("midstream").of("far"))
		p.want("its payload", far(f.data(f.visitor, visitorISN+1, request)), passes("unconfirmed").of("far"))
		p.want("and what follows", far(f.data(f.visitor, visitorISN+20, request)), passes("midstream").of("far"))
		p.wantNoFlow("of a remote service")
		p.swap(f.everyone())
		p.want("a payload is blocked by itself", far(f.data(f.visitor, visitorISN+1, request)), drops("prefix").of("far"))
		p.wantNoFlow("blocked by itself")
	})
}

// A flood of forged SYNs and payloads never fills `flows`, and never displaces a confirmed flow: not from a local
// service, not from one whose sockets are elsewhere.
func TestFloodDisplacesNothing(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		small := capacity
		small.Flows, small.Syns = 1024, 1024
		p := openSized(t, small).site(f, nothing())
		l := r.listen()
		good, bad := r.connect(l, f.visitor, true), r.connect(l, f.bot, true)
		p.wantBytes("a visitor's first payload", good.write(request), passes("not_hello"))
		p.swap(deny(f.bot))
		p.wantBytes("a bot's first payload", bad.write(request), drops("prefix"))
		before := p.flows()

		for port, local := range map[uint16]bool{webPort: true, remotePort: false} {
			p.flood(f, port)
			if now := p.flows(); !maps.Equal(now, before) {
				t.Errorf("flood of a service that is local: %t: %d flows, %d before; or others", local, len(now), len(before))
			}
		}
		p.catchUp()
		p.wantBytes("the visitor goes on", good.write(request), known())
		p.wantBytes("the bot stays blocked", bad.write(request), drops("prefix"))
	})
}

// flood sends 50,000 forged connections to a port: a SYN, and the payload that fits it, each with ports, addresses and
// numbers of its own.
func (p *plane) flood(f family, port uint16) {
	p.t.Helper()
	const connections = 50_000
	syn := f.segment(f.other, packet.TCP{DestPort: port, Seq: 1, Flags: packet.SYN, Options: browserOptions}).Bytes()
	data := f.segment(f.other, packet.TCP{DestPort: port, Seq: 2, Flags: packet.ACK, Payload: hello}).Bytes()
	tcp, src := packet.EthernetLen+packet.IPv6Len, packet.EthernetLen+8+15
	if f.other.Is4() {
		tcp, src = packet.EthernetLen+packet.IPv4Len, packet.EthernetLen+12+3
	}
	for n := range uint32(connections) {
		for i, frame := range [][]byte{syn, data} {
			frame[src] = byte(n)
			binary.BigEndian.PutUint16(frame[tcp:], uint16(n>>8)+1024)
			binary.BigEndian.PutUint32(frame[tcp+4:], n*2654435761+uint32(i))
			if got := p.run(frame); got != "XDP_PASS" {
				p.t.Fatalf("frame %d of the flood: %s", n, got)
			}
		}
	}
	if n := p.pinned(bpf.DataplaneMapSyns).MaxEntries(); len(p.records()) > int(n) {
		p.t.Errorf("%d SYN records in %d places", len(p.records()), n)
	}
}
