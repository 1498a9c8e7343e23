// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// coarse returns the time of the clock that the programs read.
func coarse(t *testing.T) unix.Timespec {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &now); err != nil {
		t.Fatalf("read the clock: %v", err)
	}
	return now
}

// onOneProcessor keeps the test on the processor that it runs on: budgets are per processor.
func onOneProcessor(t *testing.T) {
	t.Helper()
	var all, this unix.CPUSet
	runtime.LockOSThread()
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatalf("read the affinity: %v", err)
	}
	for i := range 8 * len(all) * 8 {
		if all.IsSet(i) {
			this.Set(i)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &this); err != nil {
		t.Fatalf("set the affinity: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.SchedSetaffinity(0, &all); err != nil {
			t.Errorf("set the affinity: %v", err)
		}
		runtime.UnlockOSThread()
	})
}
