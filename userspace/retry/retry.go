// SPDX-License-Identifier: Apache-2.0

// Package retry spaces attempts.
package retry

import (
	"math/rand/v2"
	"time"
)

// How long a wait is at most, at first and in the end.
const (
	First = time.Second
	Last  = time.Minute
)

// Retry spaces attempts with full jitter, so that a fleet whose hosts failed together does not come back together.
type Retry struct {
	ceiling time.Duration
	next    time.Time
}

// Due reports whether it is time for the next attempt.
func (r *Retry) Due(now time.Time) bool { return !now.Before(r.next) }

// Failed lets the next attempt wait.
func (r *Retry) Failed(now time.Time) {
	r.ceiling = min(max(2*r.ceiling, First), Last)
	r.next = now.Add(time.Duration(rand.Int64N(int64(r.ceiling)) + 1))
}

// Next is when the next attempt is due.
func (r *Retry) Next() time.Time { return r.next }

// Reset begins anew.
func (r *Retry) Reset() { *r = Retry{} }
