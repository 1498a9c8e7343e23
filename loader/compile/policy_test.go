// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"testing"
	"time"

	"github.com/spillway/spillway/config"
)

// What a generation holds of a rate is an interval: read back it is the number that the bundle says, or one that the
// dataplane cannot tell from it.
func TestFrequencyOfAnInterval(t *testing.T) {
	for _, per := range []time.Duration{time.Second, time.Minute, time.Hour} {
		for count := uint32(1); count <= 1000; count++ {
			f := config.Frequency{Count: count, Per: per}
			got := frequencyOf(intervalOf(f))
			if intervalOf(got) != intervalOf(f) {
				t.Errorf("%s reads as %s", f, got)
			}
		}
	}
	for text, f := range map[string]config.Frequency{
		"30/m": {Count: 30, Per: time.Minute}, "7/h": {Count: 7, Per: time.Hour},
		"1/m": {Count: 60, Per: time.Hour}, "1000/s": {Count: 1000, Per: time.Second}} {
		if got := frequencyOf(intervalOf(f)); got.String() != text {
			t.Errorf("%s reads as %s, want %s", f, got, text)
		}
	}
}
