// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"time"

	"github.com/spillway/spillway/bpf"
)

// Clock is one moment on both clocks: a person's expiry is wall time, the kernel compares CLOCK_MONOTONIC.
type Clock struct {
	Wall        time.Time
	MonotonicNS uint64
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
