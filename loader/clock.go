// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"math"
	"time"

	"github.com/spillway/spillway/loader/compile"
	"golang.org/x/sys/unix"
)

// Now reads both clocks.
func Now() compile.Clock {
	return compile.Clock{Wall: time.Now(), MonotonicNS: monotonicNS()}
}

func monotonicNS() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // cannot fail on Linux; 0 is the distant past, and the past passes
	}
	return uint64(ts.Nano())
}

// Deadline is a moment of CLOCK_MONOTONIC in nanoseconds: 0 is off, DeadlineForever has no end.
type Deadline uint64

// DeadlineForever lasts until somebody ends it.
const DeadlineForever Deadline = math.MaxUint64

// Present returns this moment, to compare deadlines with.
func Present() Deadline { return Deadline(monotonicNS()) }

// In returns the deadline d from now; a d of zero or less is off.
func In(d time.Duration) Deadline {
	if d <= 0 {
		return 0
	}
	return Deadline(monotonicNS() + uint64(d))
}

// Active reports whether the deadline lies ahead.
func (d Deadline) Active() bool {
	return d == DeadlineForever || uint64(d) > monotonicNS()
}

// Left returns the time until the deadline: 0 when it has passed, the longest duration for DeadlineForever.
func (d Deadline) Left() time.Duration {
	if d == DeadlineForever {
		return math.MaxInt64
	}
	now := monotonicNS()
	if uint64(d) <= now {
		return 0
	}
	return time.Duration(uint64(d) - now)
}
