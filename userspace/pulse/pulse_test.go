// SPDX-License-Identifier: Apache-2.0

package pulse

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTicksFallTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = time.Second
		begun = time.Now()
		one := Every(interval)
		defer one.Stop()
		time.Sleep(300 * time.Millisecond)
		made := time.Now()
		two := Every(interval)
		defer two.Stop()
		var ticks [2][]time.Duration
		for range 3 {
			ticks[1] = append(ticks[1], (<-two.C).Sub(begun))
		}
		if first := ticks[1][0] - made.Sub(begun); first < interval || first > 2*interval {
			t.Errorf("the first tick comes after %s", first)
		}
		for _, at := range ticks[1] {
			if at%interval != 0 {
				t.Errorf("a tick at %s, want each %s", at, interval)
			}
		}
		if at := (<-one.C).Sub(begun); at%interval != 0 {
			t.Errorf("the other ticks at %s", at)
		}
	})
}
