// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/bpf"
)

// sums are packets, connections and packets alone, by what a counter says of them.
type sums struct{ packets, connections, alone uint64 }

func count(t *testing.T, d *Dataplane, by func(Counter) string) map[string]sums {
	t.Helper()
	all, err := d.Counters()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]sums{}
	for _, c := range all {
		key := by(c)
		s := found[key]
		found[key] = sums{s.packets + c.Packets, s.connections + c.Connections, s.alone + c.Alone}
	}
	return found
}

func byReason(c Counter) string { return bpf.ReasonName(c.Reason) + " " + bpf.OutcomeName(c.Outcome) }

func byPlace(c Counter) string {
	switch {
	case c.Left:
		return "left"
	case c.Slot == bpf.SlotEmpty:
		return "host"
	}
	return "generation"
}

// Counters belong to the generation in the slot: they begin at zero when the slot is filled, and what left goes on to
// be counted, once, whoever looks.
func TestCountersBelongToAGeneration(t *testing.T) {
	folder := testPins(t)
	d := openTest(t, Options{Pins: folder})
	var packets uint64
	for i := range 3 * bpf.Slots {
		publish(t, d, testHost(), testBundle("198.51.100.0/24"))
		if own := count(t, d, func(c Counter) string {
			if c.Slot == d.Control().Stable {
				return "own"
			}
			return ""
		})["own"]; own != (sums{}) {
			t.Errorf("generation %d begins with %+v", i+1, own)
		}
		for range i + 1 {
			wantAction(t, d, "denied", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
			wantAction(t, d, "no service", syn("198.51.100.1", "192.0.2.1", 444), xdpPass)
			packets++
		}
		got := count(t, d, byReason)
		if got["prefix drop"].packets != packets || got["not_service pass"].packets != packets {
			t.Errorf("after %d generations: %+v, want %d of each", i+1, got, packets)
		}
	}
	before := count(t, d, byPlace)
	if before["left"].packets == 0 || before["generation"].packets == 0 || before["host"].packets != packets {
		t.Errorf("by place: %+v", before)
	}
	adopted, err := Adopt(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = adopted.Close() }()
	if diff := cmp.Diff(before, count(t, adopted, byPlace), cmp.AllowUnexported(sums{})); diff != "" {
		t.Errorf("who adopts the maps counts otherwise (-was +is):\n%s", diff)
	}
}

// A rollback moves a role, not a count; the slot that it left is filled next, and what was counted there stays in the
// sum.
func TestCountersOverARollback(t *testing.T) {
	d := openTest(t, Options{})
	publish(t, d, testHost(), testBundle("198.51.100.0/24"))
	wantAction(t, d, "denied", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
	first := d.Control().Stable
	publish(t, d, testHost(), testBundle("198.51.100.0/24"))
	wantAction(t, d, "denied", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
	if _, err := d.Rollback(); err != nil {
		t.Fatal(err)
	}
	wantAction(t, d, "denied", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
	ofSlot := func(c Counter) string {
		if c.Slot == first {
			return "first"
		}
		return "other"
	}
	if got := count(t, d, ofSlot); got["first"].packets != 2 || got["other"].packets != 1 {
		t.Errorf("%+v", got)
	}
	publish(t, d, testHost(), testBundle("198.51.100.0/24"))
	if got := count(t, d, byPlace); got["generation"].packets != 2 || got["left"].packets != 1 {
		t.Errorf("after the slot was filled again: %+v", got)
	}
}

// An id that is given to another service takes no counts along; services that stay keep theirs.
func TestCountersOfAServiceThatLeft(t *testing.T) {
	d := openTest(t, Options{})
	h := testHost()
	publish(t, d, h, testBundle("198.51.100.0/24"))
	wantAction(t, d, "denied", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
	h.Services = h.Services[1:]
	publish(t, d, h, testBundle())
	shop := testHost().Services[0]
	shop.Name = "shop"
	h.Services = append(h.Services, shop)
	publish(t, d, h, testBundle())
	info, err := d.Host()
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := info.Service("shop"); !ok || v.ID != 1 {
		t.Fatalf("the id of the service that left was not given away: %+v", info)
	}
	if got := count(t, d, func(c Counter) string { return fmt.Sprint(c.Service) })["1"]; got != (sums{}) {
		t.Errorf("service shop begins with %+v", got)
	}
}

// Whoever looks while a slot is filled sees no count twice, and none is missing: to Prometheus a total that falls is
// one that began again.
func TestCountersNeverFall(t *testing.T) {
	d := openTest(t, Options{})
	h := testHost()
	slices.Reverse(h.Services) // the counts of the second service lie in two of the batches that are read
	publish(t, d, h, testBundle("198.51.100.0/24"))
	done, looked := make(chan struct{}), make(chan int)
	go func() {
		looks, last := 0, uint64(0)
		for ; ; looks++ {
			select {
			case <-done:
				looked <- looks
				return
			default:
			}
			all, err := d.Counters()
			if err != nil {
				t.Error(err)
			}
			var sum uint64
			for _, c := range all {
				sum += c.Packets
			}
			if sum < last {
				t.Errorf("%d packets, and there were %d", sum, last)
			}
			last = sum
		}
	}()
	for range 12 {
		for range 50 {
			run(t, d, syn("198.51.100.1", "192.0.2.1", 443))
		}
		publish(t, d, h, testBundle("198.51.100.0/24"))
	}
	close(done)
	if n := <-looked; n < 12 {
		t.Errorf("only %d looks at 12 changes", n)
	}
}
