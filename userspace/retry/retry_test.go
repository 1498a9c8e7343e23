// SPDX-License-Identifier: Apache-2.0

package retry

import (
	"testing"
	"time"
)

func TestRetryHasJitterAndACeiling(t *testing.T) {
	var r Retry
	now := time.Unix(0, 0)
	seen := map[time.Time]bool{}
	for range 20 {
		r.Failed(now)
		if wait := r.next.Sub(now); wait <= 0 || wait > Last {
			t.Fatalf("waits %v", wait)
		}
		seen[r.next] = true
	}
	if r.ceiling != Last || len(seen) < 10 {
		t.Errorf("ceiling %v, %d different waits", r.ceiling, len(seen))
	}
	if r.Due(now) || !r.Due(now.Add(Last)) {
		t.Error("due at the wrong time")
	}
}
