// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"strings"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
)

func TestNothingPublishedPasses(t *testing.T) {
	d := openTest(t, Options{})
	wantAction(t, d, "SYN without any generation", syn("198.51.100.1", "192.0.2.1", 443), xdpPass)
}

func TestPublishedBundleDrops(t *testing.T) {
	d := openTest(t, Options{})
	publish(t, d, testHost(), testBundle("198.51.100.0/24", "2001:db8::/32"))
	wantAction(t, d, "denied prefix", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
	wantAction(t, d, "protected address inside it", syn("198.51.100.7", "192.0.2.1", 443), xdpPass)
	wantAction(t, d, "another source", syn("203.0.113.1", "192.0.2.1", 443), xdpPass)
	wantAction(t, d, "another port", syn("198.51.100.1", "192.0.2.1", 444), xdpPass)

	d.SetBypass(DeadlineForever)
	wantAction(t, d, "bypass", syn("198.51.100.1", "192.0.2.1", 443), xdpPass)
	d.SetBypass(0)
	wantAction(t, d, "bypass off", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
}

func TestRollbackIsOneStep(t *testing.T) {
	d := openTest(t, Options{})
	if _, err := d.Rollback(); !errors.Is(err, ErrNoPrevious) {
		t.Fatalf("rollback of nothing: %v", err)
	}
	publish(t, d, testHost(), testBundle("198.51.100.0/24"))
	publish(t, d, testHost(), testBundle("203.0.113.0/24"))
	wantAction(t, d, "new bundle", syn("203.0.113.1", "192.0.2.1", 443), xdpDrop)
	if _, err := d.Rollback(); err != nil {
		t.Fatal(err)
	}
	wantAction(t, d, "after rollback, what the new one denied", syn("203.0.113.1", "192.0.2.1", 443), xdpPass)
	wantAction(t, d, "after rollback, what the old one denied", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
	if _, err := d.Rollback(); !errors.Is(err, ErrNoPrevious) {
		t.Errorf("going back twice must not return to what was left: %v", err)
	}
}

// A slot is used again after it was left; what it held before must not show.
func TestSlotsAreUsedAgain(t *testing.T) {
	d := openTest(t, Options{})
	for i := range 8 {
		bundle := testBundle("198.51.100.0/24")
		if i%2 == 1 {
			bundle = testBundle()
		}
		publish(t, d, testHost(), bundle)
		want := uint32(xdpDrop)
		if i%2 == 1 {
			want = xdpPass
		}
		wantAction(t, d, "generation", syn("198.51.100.1", "192.0.2.1", 443), want)
	}
}

func TestOverCapacityIsRefusedAndNothingChanges(t *testing.T) {
	host := testHost()
	host.Capacity.Prefixes4 = 2
	d := openTest(t, Options{Capacity: host.Capacity})
	publish(t, d, host, testBundle("198.51.100.0/24"))
	before := d.Control()

	_, img := compiled(t, d, host, testBundle("203.0.113.0/24", "192.0.2.0/25", "198.51.100.0/25"))
	if _, err := d.Build(img); !errors.Is(err, ErrCapacity) {
		t.Fatalf("three rows into a capacity of two: %v", err)
	}
	// The kernel refuses too, when our own check is out of the way.
	bundle := testBundle()
	for i := range 3 {
		bundle.TCP = append(bundle.TCP, config.TCPFeature{Rule: "bad", Fingerprint: signature.MuonFP{Window: uint16(i + 1)}})
	}
	_, img = compiled(t, d, host, bundle)
	d.capacity.TCPFingerprints = 2
	table := img.Tables(d.capacity)[bpf.DataplaneMapTcpFingerprints]
	if m, err := d.buildTable(bpf.DataplaneMapTcpFingerprints, table); err == nil {
		_ = m.Close()
		t.Error("the kernel took three rows into a map of two")
	}
	if after := d.Control(); after != before {
		t.Errorf("control word changed: %+v, was %+v", after, before)
	}
	wantAction(t, d, "stable generation", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
}

func TestPublishedMapsAreFrozen(t *testing.T) {
	d := openTest(t, Options{})
	img := publish(t, d, testHost(), testBundle("198.51.100.0/24"))
	slot := d.Control().Stable
	m, err := d.innerMap(bpf.DataplaneMapPrefixes4, slot)
	if err != nil || m == nil {
		t.Fatal(m, err)
	}
	defer func() { _ = m.Close() }()
	if err := m.Put(uint32(0), &bpf.PrefixPage{}); err == nil {
		t.Error("a published map took a page")
	}
	drifts, err := d.VerifyGeneration(slot, img)
	if err != nil || len(drifts) > 0 {
		t.Errorf("drift of what was just built: %v, %v", drifts, err)
	}
	_, other := compiled(t, d, testHost(), testBundle("203.0.113.0/24"))
	drifts, err = d.VerifyGeneration(slot, other)
	if err != nil || len(drifts) == 0 {
		t.Errorf("another bundle's image showed no drift: %v", err)
	}
}

// Slots that nobody planned the memory of are not taken: what all places hold stays as it is.
func TestASlotMoreIsRefused(t *testing.T) {
	d := openTest(t, Options{})
	publish(t, d, testHost(), testBundle("198.51.100.0/24"))
	var taken []uint8
	_, img := compiled(t, d, testHost(), testBundle())
	for len(taken) < generationSlots-1 {
		slot, err := d.Build(img, taken...)
		if err != nil {
			t.Fatalf("slot %d of %d: %v", len(taken)+2, generationSlots, err)
		}
		taken = append(taken, slot)
	}
	_, err := d.Build(img, taken...)
	if !errors.Is(err, ErrCapacity) || !strings.Contains(err.Error(), "all 6 are in use") {
		t.Errorf("one more: %v", err)
	}
	wantAction(t, d, "what decided before", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
}
