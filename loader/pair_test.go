// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"sync/atomic"
	"testing"

	"github.com/cilium/ebpf"
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
