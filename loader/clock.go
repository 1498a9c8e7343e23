// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"math"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
)

// Clock is one moment on both clocks: a person's expiry is wall time, the kernel compares CLOCK_MONOTONIC.
type Clock struct {
	Wall        time.Time
	MonotonicNS uint64
}

// Now reads both clocks.
func Now() Clock {
	return Clock{Wall: time.Now(), MonotonicNS: monotonicNS()}
}

func monotonicNS() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // cannot fail on Linux; 0 is the distant past, and the past passes
	}
	return uint64(ts.Nano())
}

// monotonic converts a wall time; the zero time is never, and what has passed is the first nanosecond.
func (c Clock) monotonic(t time.Time) uint64 {
	if t.IsZero() {
		return bpf.Never
	}
	left := t.Sub(c.Wall) // saturates
	if left < 0 && uint64(-left) >= c.MonotonicNS {
		return 1
	}
	at := c.MonotonicNS + uint64(left)
	if left > 0 && at < c.MonotonicNS {
		return bpf.Never
	}
	return at
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
