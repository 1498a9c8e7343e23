// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
)

// told is what an event says, by name.
type told struct {
	Key                      bpf.FlowKey
	Service, Reason, Outcome string
	Stage                    string
	Rule                     uint16
	Score                    uint8
	Generation               uint32
	HasFingerprint           bool
	Window, MSS              uint16
}

// Every decision to block is told once: the SYN, the first payload; the packets of a flow that is blocked are not.
func TestBlocksAreToldOnce(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		r := enter(t, f)
		p := open(t).site(f, rules().rule("unused", 1).rule("bad", 90).rule("scanner", 95).
			list("own", "bad", host(f.bot)).tcp("scanner", scannerFP).bundle())
		events := make(chan bpf.Event, 64)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Events(ctx, func(e bpf.Event) { events <- e }) }()

		k := r.visit(f.bot)
		p.want("a scanner's SYN", f.scan(f.visitor), drops("tcp_fingerprint"))
		p.wantBytes("a bot's first payload", k.write(request), drops("prefix"))
		for range 10 {
			p.wantBytes("its data", k.write(request), drops("prefix"))
		}
		p.want("a bot's SYN, the last", f.syn(f.bot), drops("prefix"))

		number := p.number("stable")
		src := key(f.visitor, f.server, clientPort, webPort)
		bot := key(f.bot, f.server, clientPort, webPort)
		want := []told{
			{src, "web", "tcp_fingerprint", "drop", "syn", 2, 95, number, true, 1024, 1460},
			{bot, "web", "prefix", "drop", "payload", 1, 90, number, false, 0, 0},
			{bot, "web", "prefix", "drop", "syn", 1, 90, number, true, 64240, 1460},
		}
		var got []told
		for len(got) < len(want) {
			select {
			case e := <-events:
				if e.Outcome == uint8(bpf.OutcomeDrop) { // passes are told by chance
					got = append(got, p.told(e))
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("after 20 s only these events: %+v", got)
			}
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b bpf.FlowKey) bool { return a == b })); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("reading events ended with %v", err)
		}
	})
}

func (p *plane) told(e bpf.Event) told {
	return told{e.Key, p.names[e.Service], bpf.ReasonName(bpf.Reason(e.Reason)), bpf.OutcomeName(bpf.Outcome(e.Outcome)),
		bpf.StageName(bpf.Stage(e.Stage)), e.Rule, e.Score, e.Generation, e.HasFingerprint != 0,
		e.Fingerprint.Window, e.Fingerprint.Mss}
}

// Passes are thinned out, unless somebody watches.
func TestPassesAreToldWhileSomebodyWatches(t *testing.T) {
	const frames = 20
	f := families[0]
	p := open(t).site(f, nothing())
	events := make(chan bpf.Event, 4*frames)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Events(ctx, func(e bpf.Event) { events <- e }) }()
	defer func() { stop(); <-done }()
	for _, phase := range []struct {
		src   netip.Addr
		until loader.Deadline
	}{{f.visitor, 0}, {f.other, loader.In(time.Hour)}, {f.mild, 0}, {f.protected, loader.In(time.Hour)}} {
		p.SetTellAll(phase.until)
		for range frames {
			p.want("a SYN", f.syn(phase.src), passes("no_match"))
		}
	}
	told := map[bpf.FlowKey]int{}
	of := func(a netip.Addr) int { return told[key(a, f.server, clientPort, webPort)] }
	for of(f.protected) < frames { // the ring keeps the order, so all before are here then
		select {
		case e := <-events:
			told[e.Key]++
		case <-time.After(20 * time.Second):
			t.Fatalf("after 20 s only these events: %v", told)
		}
	}
	if of(f.other) != frames {
		t.Errorf("watched: %d events of %d passes", of(f.other), frames)
	}
	if n := of(f.visitor) + of(f.mild); n > runtime.NumCPU() { // the first of its kind on each processor
		t.Errorf("not watched: %d events of %d passes", n, 2*frames)
	}
}
