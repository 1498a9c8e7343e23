// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/test/support/packet"
)

// onOneCPU keeps the test where it is: which blocks are recent is known to each processor for itself.
func onOneCPU(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if before.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.SchedSetaffinity(0, &before)
		runtime.UnlockOSThread()
	})
}

// wantDecided checks how the packet left and what it counted beside itself: "web prefix drop" is a connection.
func (p *plane) wantDecided(what string, f packet.Frame, want result, decided ...string) {
	p.t.Helper()
	p.want(what, f, want)
	p.decidedOnly(what, decided...)
}

func (p *plane) decidedOnly(what string, decided ...string) {
	p.t.Helper()
	want := map[string]uint64{}
	for _, d := range decided {
		want[d]++
	}
	if diff := cmp.Diff(want, p.decided, cmpopts.EquateEmpty()); diff != "" {
		p.t.Errorf("%s decided (-want +got):\n%s", what, diff)
	}
}

// A blocked SYN is a connection once, however often it is repeated; with another ISN it is another.
func TestBlockedSYNCountsOncePerISN(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		onOneCPU(t)
		p := borrow(t).site(f, f.usual().bundle())
		p.wantDecided("a bot's SYN", f.syn(f.bot), drops("prefix"), "web prefix drop")
		for range 3 {
			p.wantDecided("its retransmission", f.syn(f.bot), drops("prefix"))
		}
		again := f.segment(f.bot, packet.TCP{Seq: visitorISN + 1, Flags: packet.SYN, Options: browserOptions})
		p.wantDecided("the next try", again, drops("prefix"), "web prefix drop")
		elsewhere := f.segment(f.bot,
			packet.TCP{SourcePort: clientPort + 1, Seq: visitorISN, Flags: packet.SYN, Options: browserOptions})
		p.wantDecided("another port", elsewhere, drops("prefix"), "web prefix drop")
		p.wantDecided("a visitor's SYN decides nothing yet", f.syn(f.visitor), passes("no_match"))
		p.wantDecided("nor does that of the protected", f.syn(f.protected), passes("protected"))
		p.must(p.Ban(host(f.visitor), time.Hour))
		p.wantDecided("banned", f.syn(f.visitor), banned("web"), "web ban drop")
		p.wantDecided("banned, again", f.syn(f.visitor), banned("web"))
	})
}

// A connection that passes counts at its confirmed first payload, once; its other packets do not.
func TestConnectionsThatPassCountOnce(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		onOneCPU(t)
		p := borrow(t).site(f, nothing())
		p.wantDecided("a forged hello", f.data(f.visitor, botISN+1, hello), passes("unconfirmed"))
		k := r.connect(r.listen(), f.visitor, true)
		p.wantBytes("the SYN", k.syn, passes("no_match"))
		p.decidedOnly("the SYN")
		p.wantBytes("the ACK", k.ack, passes("handshake"))
		p.decidedOnly("the ACK")
		p.wantDecided("the first payload", k.at(0, hello), passes("no_match"), "web no_match pass")
		p.wantDecided("again", k.at(0, hello), known())
		other := append([]byte(nil), hello...)
		other[len(other)-3] ^= 2 // another cipher suite
		p.wantDecided("with other bytes", k.at(0, other), passes("no_match"))
		p.wantDecided("more data", k.at(uint32(len(hello)), request), known())
		p.must(p.Ban(host(f.visitor), time.Hour))
		p.wantDecided("a ban cuts it", k.at(100, request), banned("web"), "web ban drop")
		p.wantDecided("and cuts it", k.at(200, request), banned("web"))
	})
}

// A ClientHello in two segments is one connection, decided when it is whole.
func TestAHelloInPartsCountsWhenItIsWhole(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		onOneCPU(t)
		p := borrow(t).site(f, nothing())
		k := r.connect(r.listen(), f.visitor, true)
		p.wantBytes("the SYN", k.syn, passes("no_match"))
		p.wantDecided("a part", k.at(0, hello[:20]), passes("hello_partial"))
		p.wantDecided("the same part", k.at(0, hello[:20]), passes("hello_partial").by("none"))
		p.wantDecided("the rest", k.at(20, hello[20:]), passes("no_match"), "web no_match pass")
		p.wantDecided("the rest again, alone: what was whole is held no longer", k.at(20, hello[20:]),
			passes("hello_order").by("none"))
	})
}

// In observe mode a connection counts as what it would have been: at its SYN, and not again at its payload.
func TestWouldBlockCountsOnce(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		onOneCPU(t)
		p := borrow(t).site(f, f.usual().bundle())
		p.mode(config.ModeObserve)
		k := r.connect(r.listen(), f.bot, true)
		p.wantBytes("the SYN", k.syn, would("prefix"))
		p.decidedOnly("the SYN", "web prefix would_drop")
		p.wantBytes("the SYN again", k.syn, would("prefix"))
		p.decidedOnly("the SYN again")
		p.wantDecided("the first payload", k.at(0, hello), would("prefix"))
		p.wantDecided("more data", k.at(uint32(len(hello)), request), known())
	})
}

// What is judged by itself belongs to no connection and is a class of its own; where it passes, packets say it all.
func TestPacketsAloneAreNoConnections(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		onOneCPU(t)
		p := borrow(t).site(f, f.usual().bundle())
		p.wantDecided("UDP of a bot", f.udp(f.bot, dnsPort), drops("prefix").of("dns"), "alone: dns prefix drop")
		p.wantDecided("and again", f.udp(f.bot, dnsPort), drops("prefix").of("dns"), "alone: dns prefix drop")
		p.wantDecided("UDP of a visitor", f.udp(f.visitor, dnsPort), passes("no_match").of("dns"))
		p.wantDecided("data whose connection nobody knows", f.data(f.bot, 5, request), drops("prefix"),
			"alone: web prefix drop")
		p.wantDecided("an ACK without a socket", f.ack(f.bot, 5), drops("prefix"), "alone: web prefix drop")
		p.wantDecided("a visitor's", f.ack(f.visitor, 5), passes("handshake"))
		p.mode(config.ModeObserve)
		p.wantDecided("observed", f.udp(f.bot, dnsPort), would("prefix").of("dns"), "alone: dns prefix would_drop")
	})
}

// Where nobody vouches, a blocked first payload is a connection all the same: repeated, it counts once.
func TestUnconfirmedBlocksCountOncePerISN(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		onOneCPU(t)
		p := borrow(t).site(f, f.usual().bundle())
		p.wantDecided("a hello behind a SYN cookie", f.data(f.bot, botISN+1, hello), drops("prefix"), "web prefix drop")
		p.wantDecided("again", f.data(f.bot, botISN+1, hello), drops("prefix"))
		far := func(src packet.TCP) packet.Frame { src.DestPort = remotePort; return f.segment(f.bot, src) }
		p.wantDecided("a SYN to a remote service", far(packet.TCP{Seq: botISN, Flags: packet.SYN}),
			drops("prefix").of("far"), "far prefix drop")
	})
}

// The counts of the slots and of what left them are the dataplane's own words for this test's rows.
func TestCountersAddUp(t *testing.T) {
	f := families[0]
	onOneCPU(t)
	p := borrow(t).site(f, f.usual().bundle())
	for range 2 * bpf.Slots {
		p.wantDecided("UDP", f.udp(f.bot, dnsPort), drops("prefix").of("dns"), "alone: dns prefix drop")
		p.swap(f.usual().bundle())
	}
	all, err := p.Counters()
	p.must(err)
	var packets, alone uint64
	for _, c := range all {
		packets, alone = packets+c.Packets, alone+c.Alone
	}
	if packets != 2*bpf.Slots || alone != 2*bpf.Slots {
		t.Errorf("%d packets and %d alone, want %d of each", packets, alone, 2*bpf.Slots)
	}
}
