// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"encoding/binary"
	"maps"
	"net/netip"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/bpf"
	support "github.com/spillway/spillway/test/support/plane"
)

const (
	confirmed      = uint8(bpf.FlowConfirmed)
	firstPayload   = uint8(bpf.FlowFirstPayload)
	hasFingerprint = uint8(bpf.FlowHasFingerprint)
	hasTLS         = uint8(bpf.FlowHasTLS)

	verdictPass = uint8(bpf.VerdictPass)
	verdictDrop = uint8(bpf.VerdictDrop)
)

// flows returns what the dataplane keeps of connections.
func (p *plane) flows() map[bpf.FlowKey]bpf.Flow {
	p.t.Helper()
	all, err := support.Flows(p.pinned(bpf.DataplaneMapFlows))
	p.must(err)
	return all
}

// flow returns the only flow there is; ok is false when there is none.
func (p *plane) flow() (flow bpf.Flow, ok bool) {
	p.t.Helper()
	all := p.flows()
	if len(all) > 1 {
		p.t.Fatalf("%d flows, want one", len(all))
	}
	for _, flow = range all {
		return flow, true
	}
	return flow, false
}

// counted are the flags that only counting needs; connections_test.go sees to them. That a hello was read is for
// test/dataplane/ja4.
const counted = uint8(bpf.FlowCounted | bpf.FlowCut | bpf.FlowRead)

// wantFlow checks the verdict and the flags of the only flow, and returns it.
func (p *plane) wantFlow(what string, verdict, flags uint8) bpf.Flow {
	p.t.Helper()
	flow, ok := p.flow()
	if !ok {
		p.t.Errorf("%s: no flow", what)
	} else if flow.Verdict != verdict || flow.Flags&^counted != flags {
		p.t.Errorf("%s: the flow has verdict %d and flags %d, want %d and %d", what, flow.Verdict, flow.Flags, verdict, flags)
	}
	return flow
}

func (p *plane) wantNoFlow(what string) {
	p.t.Helper()
	if n := len(p.flows()); n != 0 {
		p.t.Errorf("%s: %d flows, want none", what, n)
	}
}

// wantSameFlow checks that the only flow still says what it said before. The hint is no part of what it says: it makes
// the dataplane ask the socket, and nothing more. Nor is it how far the beginning is looked at.
func (p *plane) wantSameFlow(what string, before bpf.Flow) {
	p.t.Helper()
	now, ok := p.flow()
	now.Hint, before.Hint = 0, 0
	now.HelloEnd, before.HelloEnd, now.Held, before.Held, now.Sight, before.Sight = 0, 0, 0, 0, 0, 0
	now.Flags, before.Flags = now.Flags&^counted, before.Flags&^counted
	if diff := cmp.Diff(before, now, cmp.Comparer(func(a, b bpf.Flow) bool { return a == b })); !ok || diff != "" {
		p.t.Errorf("%s: the flow changed (there: %t) (-before +now):\n%s", what, ok, diff)
	}
}

// records returns the SYN records that were written, by index.
func (p *plane) records() map[uint32]bpf.SynRecord {
	p.t.Helper()
	all, err := support.Rows[uint32, bpf.SynRecord](p.pinned(bpf.DataplaneMapSyns))
	p.must(err)
	maps.DeleteFunc(all, func(_ uint32, r bpf.SynRecord) bool { return r.Check == 0 })
	return all
}

// key is the flow key of a connection, as the kernel writes it.
func key(src, dst netip.Addr, sport, dport uint16) bpf.FlowKey {
	words := func(a netip.Addr) (w [4]uint32) {
		b := a.As16()
		for i := range w {
			w[i] = binary.NativeEndian.Uint32(b[4*i:])
		}
		return w
	}
	port := func(v uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)) }
	return bpf.FlowKey{Saddr: words(src), Daddr: words(dst), Sport: port(sport), Dport: port(dport)}
}
