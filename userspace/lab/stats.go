// SPDX-License-Identifier: Apache-2.0

package lab

import "time"

// Count is how many requests ended, and how many of them failed.
type Count struct{ Requests, Failures uint64 }

// Stats is what a crowd of clients saw. A request counts when it ends: one
// that nobody answers counts as a failure after its time-out.
type Stats struct {
	Requests, Failures uint64

	// P50, P99 and Max are of the requests that were served, from before the
	// dial until the answer was read. They are zero when nothing was served.
	// What curl spends before it dials is left out, and wget, which cannot
	// say, is left out altogether.
	P50, P99, Max time.Duration

	// Rate is requests per second over Span, the time that was looked at.
	Rate float64
	Span time.Duration

	LastError string            // in full; "" when nothing failed
	Errors    map[string]uint64 // failures by cause
	ByClient  map[string]Count  // "go", "curl", "wget"
	ByFamily  map[string]Count  // "ipv4", "ipv6"
}

// Served returns how many requests were answered with 200.
func (s Stats) Served() uint64 { return s.Requests - s.Failures }
