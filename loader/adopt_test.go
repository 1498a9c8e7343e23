// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
)

func TestOpenAdoptsWhatIsPinned(t *testing.T) {
	pins := testPins(t)
	if _, err := Adopt(pins); !errors.Is(err, kernel.ErrNotPinned) {
		t.Fatalf("adopt nothing: %v", err)
	}
	first := openTest(t, Options{Pins: pins})
	publish(t, first, testHost(), testBundle("198.51.100.0/24"))
	before := first.Control()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	second := openTest(t, Options{Pins: pins})
	if got := second.Control(); got != before {
		t.Errorf("control word after adoption: %+v, was %+v", got, before)
	}
	wantAction(t, second, "adopted generation", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)

	cli, err := Adopt(pins)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cli.Close() }()
	cli.SetBypass(DeadlineForever)
	wantAction(t, second, "bypass by another process", syn("198.51.100.1", "192.0.2.1", 443), xdpPass)
	cli.SetBypass(0)
	generations, err := cli.Generations()
	if err != nil || len(generations) != 1 || generations[0].Role != RoleStable ||
		generations[0].Rows["prefixes_v4"] != 1 {
		t.Errorf("generations without an agent: %+v, %v", generations, err)
	}
	info, err := cli.Host()
	if err != nil || len(info.Services) != 2 {
		t.Errorf("host without an agent: %+v, %v", info, err)
	}
}

func TestA21ForeignABIIsRefused(t *testing.T) {
	folder := testPins(t)
	if err := os.MkdirAll(filepath.Join(folder, "v99"), 0o700); err != nil {
		t.Fatal(err)
	}
	d := openTest(t, Options{Pins: folder}) // nothing of it decides
	if err := os.RemoveAll(d.pins.Pairs()); err != nil {
		t.Fatal(err)
	}
	if err := d.root.PutInForce(99, d.pair.front); err != nil {
		t.Fatal(err)
	}
	var foreign *pins.ForeignError
	if _, err := Open(Options{Pins: folder}); !errors.As(err, &foreign) || foreign.Layout != 99 ||
		!errors.Is(err, kernel.ErrForeignABI) {
		t.Errorf("open what another layout decides: %v", err)
	}
	if _, err := Adopt(folder); !errors.As(err, &foreign) || foreign.Layout != 99 {
		t.Errorf("adopt what another layout decides: %v", err)
	}
}

func TestPinsBelongOnBPFFS(t *testing.T) {
	needKernel(t)
	if _, err := Open(Options{Pins: filepath.Join(t.TempDir(), "pins")}); !errors.Is(err, kernel.ErrUnsupported) {
		t.Errorf("pins on a disk: %v", err)
	}
}

func TestCapacityOfAMapInUseWaits(t *testing.T) {
	pins := testPins(t)
	c := testHost().Capacity
	first := openTest(t, Options{Pins: pins, Capacity: c})
	if w := first.Warnings(); len(w) != 0 {
		t.Errorf("warnings of a first start: %v", w)
	}
	c.Flows /= 2
	second := openTest(t, Options{Pins: pins, Capacity: c})
	if w := second.Warnings(); len(w) == 0 {
		t.Error("no word about the capacity that waits")
	}
	if got := int(second.maps[bpf.DataplaneMapFlows].MaxEntries()); got != c.Flows*2 {
		t.Errorf("flows has %d entries, want the %d it was made with", got, c.Flows*2)
	}
}

// A root program whose maps lost their pins obeys nobody. It must not stay in front of new maps.
func TestRootThatReadsOtherMapsIsReplaced(t *testing.T) {
	folder := testPins(t)
	first := openTest(t, Options{Pins: folder})
	publish(t, first, testHost(), testBundle("198.51.100.0/24"))
	for _, name := range []string{"root/words", "root/next",
		fmt.Sprintf("v%d/maps/%s", pins.Layout, bpf.DataplaneMapWords)} {
		if err := os.Remove(filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	second := openTest(t, Options{Pins: folder})
	publish(t, second, testHost(), testBundle("203.0.113.0/24"))
	wantAction(t, second, "generation of the new maps", syn("203.0.113.1", "192.0.2.1", 443), xdpDrop)
	drifts, err := second.VerifyWiring()
	if err != nil || len(drifts) > 0 {
		t.Errorf("wiring: %v, %v", drifts, err)
	}
}

func TestEmptyProgArrayPassesAndIsRefilled(t *testing.T) {
	d := openTest(t, Options{Pins: testPins(t)})
	publish(t, d, testHost(), testBundle("198.51.100.0/24"))
	if err := d.NextMap().Delete(uint32(0)); err != nil {
		t.Fatal(err)
	}
	wantAction(t, d, "root in front of nothing", syn("198.51.100.1", "192.0.2.1", 443), xdpPass)
	if drifts, err := d.VerifyWiring(); err != nil || len(drifts) == 0 {
		t.Errorf("the watchdog did not see it: %v", err)
	}
	if err := d.RefillPrograms(); err != nil {
		t.Fatal(err)
	}
	wantAction(t, d, "refilled", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
}
