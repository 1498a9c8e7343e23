// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/pins"
)

// F2: programs change under packets: a packet that runs in the pair before still finds its payload program, although
// nobody holds it any more.
func TestF2StartsLoseNoPacket(t *testing.T) {
	folder := testPins(t)
	first := openTest(t, Options{Pins: folder})
	publish(t, first, testHost(), testBundle("198.51.100.0/24"))
	root, err := ebpf.LoadPinnedProgram(first.pins.RootProgram(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	frame := payload(syn("198.51.100.1", "192.0.2.1", 443), []byte("hello"))
	var stop atomic.Bool
	ended := make(chan struct{})
	runs := 0
	go func() {
		defer close(ended)
		for ; !stop.Load(); runs++ {
			action, err := root.Run(&ebpf.RunOptions{Data: frame})
			if err != nil || action != xdpDrop {
				t.Errorf("after %d packets: action %d, %v; want a drop", runs, action, err)
				return
			}
		}
	}()
	for range 8 {
		d, err := Open(Options{Pins: folder})
		if err != nil {
			t.Fatal(err)
		}
		d.Beat()
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	<-ended
	t.Logf("%d packets met 9 loads of the programs", runs)
}

// Whatever is missing behind the front is found each second, and told as what it comes to; so is the pin that keeps all
// of it alive once the agent is gone.
func TestWhatStandsBehindTheFrontIsWatched(t *testing.T) {
	folder := testPins(t)
	d := openTest(t, Options{Pins: folder})
	publish(t, d, testHost(), testBundle("198.51.100.0/24"))
	for _, next := range behindFront {
		must(t, d.pair.array.Delete(next.entry))
		drifts, err := d.VerifyDeciding()
		if err != nil || len(drifts) != 1 || drifts[0].Where != compile.WherePrograms {
			t.Errorf("%s is missing: %+v, %v", next.what, drifts, err)
		} else if drifts[0].NoDataplane() != (next.entry == bpf.ProgramDataplane) {
			t.Errorf("%s is missing: %+v says that everything passes, or does not", next.what, drifts[0])
		}
		must(t, d.RefillPrograms())
		if drifts, err := d.VerifyDeciding(); err != nil || len(drifts) > 0 {
			t.Errorf("%s is back: %+v, %v", next.what, drifts, err)
		}
	}
	must(t, os.Remove(filepath.Join(d.pins.Pair(d.pair.id), pins.PinArray)))
	drifts, err := d.VerifyDeciding()
	if err != nil || len(drifts) != 1 || drifts[0].Where != compile.WherePins {
		t.Errorf("the array has no pin: %+v, %v", drifts, err)
	}
	if _, err := d.Repin(); err != nil {
		t.Error(err)
	}
	must(t, d.Close())
	second, err := Adopt(folder)
	must(t, err)
	defer func() { _ = second.Close() }()
	if drifts, err := second.VerifyDeciding(); err != nil || len(drifts) > 0 {
		t.Errorf("after the agent: %+v, %v", drifts, err)
	}
}
