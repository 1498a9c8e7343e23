// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/support/plane"
	"github.com/spillway/spillway/test/support/world"
)

// kernelFlows returns what the dataplane remembers of every connection, by the client's address and port.
func kernelFlows(t *testing.T, w *world.World) map[netip.AddrPort]bpf.Flow {
	t.Helper()
	rows, err := plane.Flows(w.Map(bpf.DataplaneMapFlows))
	world.Must(t, err)
	all := map[netip.AddrPort]bpf.Flow{}
	for key, flow := range rows {
		all[plane.ClientOf(key)] = flow
	}
	return all
}

// kernelJA4 returns the JA4 and the stable JA4 that the dataplane computed for a connection; "" when it has none.
func kernelJA4(flows map[netip.AddrPort]bpf.Flow, client netip.AddrPort) (ja4, stable string) {
	flow, known := flows[client]
	if !known || flow.Flags&uint8(bpf.FlowHasTLS) == 0 {
		return "", ""
	}
	return printed(flow.Tls)
}

// printed returns the JA4 and the stable JA4 as people write them.
func printed(tls bpf.DataplaneTlsFingerprint) (ja4, stable string) {
	a := string(tls.A[:])
	return fmt.Sprintf("%s_%x_%x", a, tls.B, tls.C), fmt.Sprintf("%s%s%s_%x_%x", a[:6], tls.StableCount[:],
		a[8:], tls.B, tls.StableC)
}

// eventLog keeps what the event stream says of ClientHellos. It is a sample: passes are told one in 64.
type eventLog struct {
	stop context.CancelFunc
	done chan error
	seen map[netip.AddrPort]bpf.Event // by its reader until done
}

func readEvents(t *testing.T, w *world.World) *eventLog {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	l := &eventLog{stop: cancel, done: make(chan error, 1), seen: map[netip.AddrPort]bpf.Event{}}
	go func() {
		l.done <- w.Dataplane.Events(ctx, func(e bpf.Event) {
			if e.HasTls != 0 {
				l.seen[plane.ClientOf(e.Key)] = e
			}
		})
	}()
	return l
}

// compare fails the test for every event that says something else than the bytes of its connection.
func (l *eventLog) compare(t *testing.T, all spoken) {
	t.Helper()
	l.stop()
	if err := <-l.done; !errors.Is(err, context.Canceled) {
		t.Errorf("read events: %v", err)
	}
	for client, e := range l.seen {
		ja4, stable := printed(e.Tls)
		if !slices.ContainsFunc(all[client], func(f fingerprint) bool { return f.ja4 == ja4 && f.stable == stable }) {
			t.Errorf("%s: the event says %s, stable %s; the connection said %+v", client, ja4, stable, all[client])
		}
	}
	t.Logf("%d connections were in the event stream, as they were", len(l.seen))
}

// compareWithKernel fails the test for every connection of which the dataplane says something else than its bytes.
func compareWithKernel(t *testing.T, flows map[netip.AddrPort]bpf.Flow, client netip.AddrPort, want fingerprint) {
	t.Helper()
	ja4, stable := kernelJA4(flows, client)
	if ja4 == "" {
		flow, known := flows[client]
		t.Errorf("%s: the dataplane has no JA4, want %s (flow known: %t, reason %s)", client, want.ja4, known,
			bpf.ReasonName(bpf.Reason(flow.Reason)))
		return
	}
	if ja4 != want.ja4 || stable != want.stable {
		t.Errorf("%s: the dataplane says %s, stable %s, want %s, stable %s", client, ja4, stable, want.ja4, want.stable)
	}
}
