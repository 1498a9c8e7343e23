// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
)

// asUnit drops what the unit has not got, from a thread that ends with the test.
func asUnit(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i].Effective = 0
	}
	for _, c := range kernel.Capabilities {
		data[c.Bit/32].Effective |= 1 << (c.Bit % 32)
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
}

// What root prepared an agent with the unit's capabilities uses. Without, it loads the program itself where
// nf_conntrack is built in, and says what is to be done where it is a module.
func TestConntrackByPins(t *testing.T) {
	needKernel(t)
	_, err := os.Stat("/sys/kernel/btf/" + conntrackModule)
	isModule := err == nil
	for _, prepared := range []bool{true, false} {
		folder := testPins(t)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if prepared {
			for range 2 { // the second start keeps what is there
				if err := PrepareConntrack(folder); err != nil {
					t.Fatal(err)
				}
			}
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			asUnit(t)
			d, err := Open(Options{Pins: folder})
			if err != nil {
				t.Error(err)
				return
			}
			defer d.Close()
			if err := d.Conntrack(); prepared || !isModule {
				if err != nil {
					t.Errorf("prepared %t: %v", prepared, err)
				}
			} else if !errors.Is(err, ErrNoConntrack) {
				t.Errorf("an agent without the right asks: %v", err)
			}
			if drifts, err := d.VerifyWiring(); err != nil || len(drifts) > 0 {
				t.Errorf("prepared %t: wiring %v, %v", prepared, drifts, err)
			}
		}()
		<-done
	}
}

// Each start has an entry of its own where the program goes on, and the one before it goes.
func TestConntrackEntries(t *testing.T) {
	needKernel(t)
	folder := testPins(t)
	for start := range 4 {
		d, err := Open(Options{Pins: folder})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Conntrack(); err != nil {
			t.Skip("left out: ", err)
		}
		var used []uint32
		for i := range uint32(bpf.ConntrackNextMax) {
			if id, err := kernel.EntryOf(d.tracker.next, i); err == nil && id != 0 {
				used = append(used, i)
				if id != d.pair.ids[behindPayload] {
					t.Errorf("start %d: entry %d is program %d, want %d", start, i, id, d.pair.ids[behindPayload])
				}
			}
		}
		if len(used) != 1 || used[0] != d.tracker.index {
			t.Errorf("start %d: entries %v, want %d", start, used, d.tracker.index)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// Of a set that is not whole nothing is used: the next start makes another.
	if err := os.Remove(filepath.Join(pins.Folder{Path: folder}.Conntrack(), pinTracker)); err != nil {
		t.Fatal(err)
	}
	d, err := Open(Options{Pins: folder})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Conntrack(); err != nil {
		t.Error(err)
	}
}
