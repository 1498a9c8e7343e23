// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// MonotonicNS reads CLOCK_MONOTONIC, by which programs in the kernel tell time.
func MonotonicNS() uint64 {
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
func Present() Deadline { return Deadline(MonotonicNS()) }

// In returns the deadline d from now; a d of zero or less is off.
func In(d time.Duration) Deadline {
	if d <= 0 {
		return 0
	}
	return Deadline(MonotonicNS() + uint64(d))
}

// Active reports whether the deadline lies ahead.
func (d Deadline) Active() bool {
	return d == DeadlineForever || uint64(d) > MonotonicNS()
}

// Left returns the time until the deadline: 0 when it has passed, the longest duration for DeadlineForever.
func (d Deadline) Left() time.Duration {
	if d == DeadlineForever {
		return math.MaxInt64
	}
	now := MonotonicNS()
	if uint64(d) <= now {
		return 0
	}
	return time.Duration(uint64(d) - now)
}

// BeatAge is how old a heartbeat is, negative when there never was one.
func BeatAge(beat uint64) time.Duration {
	if beat == 0 {
		return -1
	}
	now := MonotonicNS()
	if beat > now {
		return 0
	}
	return time.Duration(now - beat)
}
