// SPDX-License-Identifier: Apache-2.0

// Package pulse lets what ticks in one process tick together, so that a processor that sleeps is woken once for all of
// them. The heartbeat has a thread and a ticker of its own.
package pulse

import "time"

var begun = time.Now()

// Every returns a ticker whose ticks fall together with those of all others of that interval. The first comes after one
// to two intervals.
func Every(interval time.Duration) *time.Ticker {
	t := time.NewTicker(interval)
	time.AfterFunc(interval-time.Since(begun)%interval, func() { t.Reset(interval) })
	return t
}
