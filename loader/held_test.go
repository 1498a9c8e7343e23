// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
)

// F1: what lies in a slot is opened by its pin. All maps of the slots that count are pinned, and a handle that loads
// nothing and holds nothing reads them.
func TestF1SlotsAreReadByTheirPins(t *testing.T) {
	folder := testPins(t)
	d := openTest(t, Options{Pins: folder})
	for range 9 { // more than there are slots
		publish(t, d, testHost(), testBundle("198.51.100.0/24"))
	}
	cli, err := Adopt(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cli.Close() }()
	for _, r := range cli.Words.roles() {
		for _, name := range r.maps {
			m, err := cli.innerMap(name, r.slot)
			if err != nil {
				t.Errorf("%s: %v", place{r.slot, name}, err)
			}
			if m != nil {
				_ = m.Close()
			}
		}
	}
	generations, err := cli.Generations()
	if err != nil || len(generations) < 2 {
		t.Errorf("generations %+v, %v", generations, err)
	}
	if drifts, err := cli.VerifyWiring(); err != nil || len(drifts) > 0 {
		t.Errorf("wiring: %+v, %v", drifts, err)
	}
}

// F1: a pin that is not the map which packets read is named and never read.
func TestF1PinOfAnotherMapIsDrift(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(t *testing.T, path string, d *Dataplane)
		want string
	}{
		{"removed", func(*testing.T, string, *Dataplane) {}, "no pin"},
		{"of another map", func(t *testing.T, path string, d *Dataplane) {
			other, err := ebpf.NewMap(d.inner[bpf.DataplaneMapGenerations])
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = other.Close() }()
			if err := other.Pin(path); err != nil {
				t.Fatal(err)
			}
		}, "a pin of map"},
	} {
		t.Run(row.name, func(t *testing.T) {
			folder := testPins(t)
			d := openTest(t, Options{Pins: folder})
			img := publish(t, d, testHost(), testBundle("198.51.100.0/24"))
			stable := d.Control().Stable
			path := d.pins.SlotMap(stable, bpf.DataplaneMapGenerations)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			row.do(t, path, d)
			cli, err := Adopt(folder)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cli.Close() }()
			if _, err := cli.innerMap(bpf.DataplaneMapGenerations, stable); !errors.Is(err, ErrPinDiffers) {
				t.Errorf("reading the slot: %v", err)
			}
			if all, err := cli.Generations(); err != nil || len(all) != 0 {
				t.Errorf("generations %+v, %v", all, err)
			}
			drifts, err := cli.VerifyWiring()
			if err != nil || len(drifts) != 1 || !strings.Contains(drifts[0].Got, row.want) {
				t.Errorf("wiring %+v, %v", drifts, err)
			}
			if drifts, err := cli.VerifyGeneration(stable, img); err != nil || len(drifts) == 0 {
				t.Errorf("verify %+v, %v", drifts, err)
			}
			wantAction(t, d, "packets do not mind", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
			publish(t, d, testHost(), testBundle("198.51.100.0/24")) // slots that nobody names take anything
			publish(t, d, testHost(), testBundle("198.51.100.0/24"))
			if drifts, err := d.VerifyWiring(); err != nil || len(drifts) > 0 {
				t.Errorf("wiring after two more generations %+v, %v", drifts, err)
			}
		})
	}
}

// F2: every start has programs of its own, and the one before leaves nothing; what is in force is pinned whole.
func TestF2ProgramsChangeAsAPair(t *testing.T) {
	folder := testPins(t)
	var ids []uint32
	for range 3 {
		d := openTest(t, Options{Pins: folder})
		publish(t, d, testHost(), testBundle("198.51.100.0/24"))
		id, err := d.Next()
		if err != nil || id != d.pair.id || slices.Contains(ids, id) {
			t.Fatalf("program %d behind the root, this start's is %d, before were %v, %v", id, d.pair.id, ids, err)
		}
		ids = append(ids, id)
		if d.Layout() != bpf.ABIVersion {
			t.Errorf("layout %d", d.Layout())
		}
		wantAction(t, d, "after a start", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
		parts := 5
		if d.Conntrack() == nil {
			parts++ // where it goes on that asks connection tracking
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		paths, err := filepath.Glob(filepath.Join(pins.Folder{Path: folder}.Pairs(), "*", "*"))
		if err != nil || len(paths) != parts {
			t.Errorf("pinned programs %v, %v", paths, err)
		}
		p, err := openPair(pins.Folder{Path: folder}, id)
		if err != nil || p == nil {
			t.Fatalf("the pair in force is not pinned whole: %v", err)
		}
		behind, err := kernel.EntryOf(p.array, bpf.ProgramPayload)
		if err != nil || behind != p.ids[behindPayload] {
			t.Errorf("behind it is %d, want %d (%v)", behind, p.ids[behindPayload], err)
		}
		if err := p.close(); err != nil {
			t.Error(err)
		}
	}
}

// A start that was killed between its pins and its store leaves a pair that never was in force.
func TestLeftPairIsTakenAway(t *testing.T) {
	folder := testPins(t)
	first := openTest(t, Options{Pins: folder})
	left := pins.Folder{Path: folder}.Pair(1)
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	clone, err := first.pair.array.Clone()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(clone.Pin(filepath.Join(left, "array")), clone.Close()); err != nil {
		t.Fatal(err)
	}
	openTest(t, Options{Pins: folder})
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// F2: pinned maps of another shape under the same number are refused, not half understood.
func TestF2MapOfAnotherShapeIsRefused(t *testing.T) {
	folder := testPins(t)
	d := openTest(t, Options{Pins: folder})
	path := d.pins.MapPath(bpf.DataplaneMapWords)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	small, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1, Flags: 0x400})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = small.Close() }()
	if err := small.Pin(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Adopt(folder); !errors.Is(err, kernel.ErrForeignABI) {
		t.Errorf("adopt: %v", err)
	}
	if _, err := Open(Options{Pins: folder}); !errors.Is(err, kernel.ErrForeignABI) {
		t.Errorf("open: %v", err)
	}
	r, err := OpenRoot(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	r.SetBypass(DeadlineForever)
	if !d.Bypass().Active() {
		t.Error("the bypass of the root does not reach the dataplane")
	}
}
