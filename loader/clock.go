// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"time"

	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

// Deadline is a moment of CLOCK_MONOTONIC in nanoseconds: 0 is off, DeadlineForever has no end.
type Deadline = kernel.Deadline

// DeadlineForever lasts until somebody ends it.
const DeadlineForever = kernel.DeadlineForever

// Now reads both clocks.
func Now() compile.Clock {
	return compile.Clock{Wall: time.Now(), MonotonicNS: kernel.MonotonicNS()}
}

// Present returns this moment, to compare deadlines with.
func Present() Deadline { return kernel.Present() }

// In returns the deadline d from now; a d of zero or less is off.
func In(d time.Duration) Deadline { return kernel.In(d) }
