// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/packet"
)

// Port re-use heals also when Spillway did not see the new SYN, because a bypass was on while it came.
func TestPortReuseHealsWhenTheSYNPassedABypass(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		l := r.listen()
		bot := r.connect(l, f.visitor, true)
		p.scannerKnocks(bot)
		p.wantBytes("its first payload", bot.write(request), drops("tcp_fingerprint"))
		bot.reset()
		visitor := r.connect(l, f.visitor, true)
		p.SetBypass(loader.DeadlineForever)
		action, _, err := p.Run(visitor.syn)
		p.must(err)
		if actionName(action) != "XDP_PASS" {
			t.Error("bypass")
		}
		p.SetBypass(0)
		p.wantBytes("the visitor's first payload", visitor.write(request), passes("not_hello"))
		p.wantBytes("the visitor goes on", visitor.write(request), known())
	})
}

// A client that only listens (a stream, a slow download before its first request) is established too.
func TestSwapDoesNotCutAClientThatOnlyListens(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		k := r.visit(f.visitor)
		p.wantBytes("the SYN", k.syn, passes("no_match"))
		p.wantBytes("the ACK", k.ack, passes("handshake"))
		p.swap(f.everyone())
		got := p.send(f.ack(k.src, k.isn+1).Bytes())
		if got.Action != "XDP_PASS" {
			t.Errorf("the ACK of an established connection, after a swap: %+v, want XDP_PASS", got)
		}
	})
}

// What a stranger forges for a remote service does not block the visitor whose addresses the stranger uses.
func TestForgedRemoteConnectionBlocksNobody(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		b := rules().rule("odd", 60).tcp("odd", scannerFP).rule("fragment", 40).reason("fragment", "fragment").bundle()
		p := borrow(t).site(f, b)
		far := func(frame packet.Frame) packet.Frame {
			tcp := frame.Body.(packet.TCP)
			tcp.DestPort = remotePort
			frame.Body = tcp
			return frame
		}
		p.want("the visitor's SYN", far(f.syn(f.visitor)), passes("no_match").of("far"))
		p.want("the visitor's payload", far(f.data(f.visitor, visitorISN+1, request)), passes("unconfirmed").of("far"))
		p.want("the visitor goes on", far(f.data(f.visitor, visitorISN+20, request)), passes("midstream").of("far"))
		p.want("a forged SYN", far(f.scan(f.visitor)), passes("below_threshold").of("far"))
		p.want("and a forged fragment that fits it", first(far(f.data(f.visitor, botISN+1, request))),
			drops("tcp_fingerprint").of("far"))
		got := p.send(far(f.data(f.visitor, visitorISN+40, request)).Bytes())
		if got.Action != "XDP_PASS" {
			t.Errorf("the visitor's data after it: %+v, want XDP_PASS", got)
		}
	})
}

// A first payload that begins one byte early: the stack trims it and takes the rest. It is a first payload all the
// same.
func TestFirstPayloadThatOverlapsTheSYN(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		k := r.visit(f.visitor)
		p.scannerKnocks(k)
		early := k.acking(f.data(k.src, k.isn, append([]byte{0}, request...))).Bytes()
		got := p.send(early)
		if got.Action != "XDP_DROP" {
			t.Errorf("a payload from ISN on: %+v, want XDP_DROP", got)
		}
		r.inject(early)
		read := make([]byte, len(request))
		_ = k.server.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadFull(k.server, read); err != nil || string(read) != string(request) {
			t.Fatalf("the stack gave the server %q, %v: then this is no way around", read, err)
		}
	})
}

// inject puts a frame on the room's lo, as if it came from a wire.
func (r *room) inject(frame []byte) {
	r.t.Helper()
	if err := os.WriteFile("/proc/sys/net/ipv4/conf/lo/accept_local", []byte("1"), 0o644); err != nil {
		r.t.Fatal(err)
	}
	frame = append(make([]byte, 12), frame[12:]...) // lo has no hardware address
	if err := unix.Sendto(r.capture, frame, 0, &unix.SockaddrLinklayer{Ifindex: 1}); err != nil {
		r.t.Fatal(err)
	}
}

// A reset ends a connection, and perhaps not the blocked one but that of the next user of its address and port.
func TestBlockedFlowPassesAReset(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		p := borrow(t).site(f, deny(f.bot))
		k := r.visit(f.bot)
		decided := drops("prefix")
		p.wantBytes("the first payload", k.write(request), decided)
		p.want("a reset with data", with(k.at(100, request), packet.RST), drops("prefix"))
		p.want("a reset", with(k.at(100, nil), packet.RST), undecided("web", "handshake"))
		p.want("a reset with an ACK", with(k.at(100, nil), packet.RST|packet.ACK), undecided("web", "handshake"))
		p.want("a FIN", with(k.at(100, nil), packet.FIN|packet.ACK), drops("prefix"))
	})
}
