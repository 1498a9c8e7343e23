// SPDX-License-Identifier: Apache-2.0

// Package swap changes generations under frames at full rate, with generations made so that a mixed read would show.
package swap

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/test/support/flood"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/userspace/lab"
)

// Every generation scores the flood's SYN twice: by its prefix and by its fingerprint. Within a generation the two
// cancel out. The prefix of one and the fingerprint of the next would make 200, which drops.
func generation(t *testing.T, number int) *config.Bundle {
	t.Helper()
	fp, err := signature.ParseMuonFP("1024:2:1460:")
	world.Must(t, err)
	prefix := 100
	if number%2 == 1 {
		prefix = -100
	}
	rules := []config.Rule{{ID: "net", Label: "net", Score: prefix}, {ID: "syn", Label: "syn", Score: -prefix}}
	b := world.Bundle(rules, func(b *config.Bundle) {
		b.Prefixes = []config.PrefixList{{List: "own", Rule: "net", Entries: []netip.Prefix{lab.ScannerPrefix4}}}
		b.TCP = []config.TCPFeature{{Rule: "syn", Fingerprint: fp}}
	})
	b.Digest = config.Digest{byte(number), byte(number >> 8), 1}
	return b
}

// swaps is how many generations the test goes through; SPILLWAY_SWAPS sets another number.
func swaps(t *testing.T) int {
	t.Helper()
	v := os.Getenv("SPILLWAY_SWAPS")
	if v == "" {
		return 1000
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 2 {
		t.Fatalf("SPILLWAY_SWAPS=%q: want a number from 2 on", v)
	}
	return n
}

func TestSwapsUnderFullRateAreNeverMixed(t *testing.T) {
	w := world.New(t)
	w.Publish(w.Host, generation(t, 0))
	stop := startFlood(t, w)

	counts := swaps(t)
	hostImage, err := compile.HostFile(w.Host, nil, 1)
	world.Must(t, err)
	var stale uint64
	for number := 1; number <= counts; number++ {
		img, err := compile.Bundle(generation(t, number), hostImage, uint32(number+1), loader.Now())
		world.Must(t, err)
		stale += swapTo(t, w, img)
	}
	sent := stop()

	reasons := byReason(t, w)
	t.Logf("%d generations, %d frames sent, %v", counts, sent, reasons)
	decided := reasons["below_threshold/pass"]
	if decided < uint64(counts)*100 {
		t.Errorf("%d packets for %d generations: the flood did not reach every generation", decided, counts)
	}
	for row, packets := range reasons {
		if row != "below_threshold/pass" && row != "not_ip/pass" && row != "other_protocol/pass" &&
			row != "not_service/pass" {
			t.Errorf("%d packets %s: a mixed or an empty generation was read", packets, row)
		}
	}
	if stale != 0 {
		t.Errorf("%d packets were decided by a slot that had been left", stale)
	}
}

// swapTo builds and publishes the next generation and returns how many packets the slot that the last swap left has
// decided since: Build waits for all packets in flight before it fills a slot, so from then on each would be stale.
func swapTo(t *testing.T, w *world.World, img *compile.Image) uint64 {
	t.Helper()
	control := w.Dataplane.Control()
	slot, err := w.Dataplane.Build(img)
	world.Must(t, err)
	before := bySlot(t, w)
	world.Eventually(t, "the flood reaches this generation", func() bool {
		return bySlot(t, w)[control.Stable] > before[control.Stable]+100
	})
	stale := bySlot(t, w)[control.Previous] - before[control.Previous]
	if control.Previous == bpf.SlotEmpty {
		stale = 0 // slot 0 also counts what no generation decides
	}
	_, err = w.Dataplane.Publish(loader.Change{Stable: &slot})
	world.Must(t, err)
	w.Dataplane.Beat()
	return stale
}

func bySlot(t *testing.T, w *world.World) map[uint8]uint64 {
	t.Helper()
	counters, err := w.Dataplane.Counters()
	world.Must(t, err)
	slots := map[uint8]uint64{}
	for _, c := range counters {
		slots[c.Slot] += c.Packets
	}
	return slots
}

func byReason(t *testing.T, w *world.World) map[string]uint64 {
	t.Helper()
	counters, err := w.Dataplane.Counters()
	world.Must(t, err)
	reasons := map[string]uint64{}
	for _, c := range counters {
		reasons[fmt.Sprintf("%s/%s", bpf.ReasonName(c.Reason), bpf.OutcomeName(c.Outcome))] += c.Packets
	}
	return reasons
}

// startFlood sends SYNs from random ports and addresses until the returned function stops it; it tells how many.
func startFlood(t *testing.T, w *world.World) (stop func() int) {
	t.Helper()
	frame := flood.SYN(w.OutMAC, w.EdgeMAC, lab.ScannerPrefix4.Addr().Next(), lab.EdgeAddr4, 443)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	sent := 0
	wg.Go(func() {
		err := w.Out.Do(func() error {
			var err error
			sent, err = flood.Until(ctx, flood.Frame{Bytes: frame, RandomSeq: true}, w.OutIndex)
			return err
		})
		if err != nil {
			t.Errorf("flood: %v", err)
		}
	})
	stop = func() int {
		cancel()
		wg.Wait()
		return sent
	}
	t.Cleanup(func() { stop() })
	return stop
}
