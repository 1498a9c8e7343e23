// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
)

// flowKey is that of a connection to 192.0.2.1, or to 2001:db8::80.
func flowKey(client string, port uint16) bpf.FlowKey {
	from, to := netip.MustParseAddr(client), netip.MustParseAddr("192.0.2.1")
	if from.Is6() {
		to = netip.MustParseAddr("2001:db8::80")
	}
	return bpf.FlowKey{Saddr: words16(from), Daddr: words16(to), Sport: bits.ReverseBytes16(port),
		Dport: bits.ReverseBytes16(443)}
}

// words16 is compile.Mapped of what may be an IPv4 address inside IPv6 already.
func words16(a netip.Addr) [4]uint32 { return compile.Mapped(netip.AddrFrom16(a.As16())) }

// putFlow stores a connection as the kernel would.
func putFlow(t *testing.T, d *Dataplane, key bpf.FlowKey, f bpf.Flow) {
	t.Helper()
	f.Saddr, f.Daddr = key.Saddr, key.Daddr
	if err := d.maps[bpf.DataplaneMapFlows].Put(d.NameOf(key), f); err != nil {
		t.Fatal(err)
	}
}

// ackOf is an ACK without data of the connection that syn or syn6 begins.
func ackOf(client netip.Addr) []byte {
	f, at := []byte(nil), 14+40
	if client.Is4() {
		f, at = syn(client.String(), "192.0.2.1", 443), 14+20
	} else {
		f = syn6(client)
	}
	f[at+13] = 0x10
	return f
}

// The kernel finds a flow by the name that user space gives it, and the walk says whose it is, whichever family it is
// of.
func TestFlowsHaveOneName(t *testing.T) {
	small := testHost().Capacity
	small.Flows = 1024
	d := openTest(t, Options{Pins: testPins(t), Capacity: small})
	for _, half := range d.Words.at.NameKeys.Words {
		if slices.Contains(half[:], 0) {
			t.Fatalf("keys that were not drawn: %x", half)
		}
	}
	publish(t, d, testHost(), testBundle("203.0.113.0/24"))
	all, err := d.Generations()
	if err != nil {
		t.Fatal(err)
	}
	d.SetBaked(all[0].Number)
	c := d.Control()
	blocked := bpf.Flow{ExpiresNs: uint64(DeadlineForever), Verdict: uint8(bpf.VerdictDrop), Epoch: c.Epoch,
		Slot: c.Stable, Generation: all[0].Number, Flags: uint8(bpf.FlowConfirmed), Isn: 7}
	clients := []string{"198.51.100.9", "2001:db8::9", "::ffff:198.51.100.9", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var a [16]byte
		for i := range a {
			a[i] = byte(r.Uint32())
		}
		clients = append(clients, netip.AddrFrom16(a).String())
	}
	for _, text := range clients {
		client, port := netip.MustParseAddr(text), uint16(40000)
		key, frame := flowKey(text, port), ackOf(client)
		wantAction(t, d, text+": no flow", frame, xdpPass)
		putFlow(t, d, key, blocked)
		wantAction(t, d, text+": a blocked flow", frame, xdpDrop)
		found, _, err := d.BlockedFlows(&FlowWalk{}, 1<<20, nil)
		if err != nil || len(found) != 1 || found[0].Client != netip.AddrPortFrom(client.Unmap(), port) ||
			found[0].Server.Port() != 443 || found[0].name.Key(&bpf.Flow{Saddr: key.Saddr, Daddr: key.Daddr}) != key {
			t.Errorf("%s: found %+v, %v", text, found, err)
		}
		if err := d.Forget(key); err != nil {
			t.Fatal(err)
		}
		wantAction(t, d, text+": forgotten", frame, xdpPass)
	}
}
