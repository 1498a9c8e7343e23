// SPDX-License-Identifier: Apache-2.0

package api

import (
	"testing"
	"time"
)

func TestShort(t *testing.T) {
	for in, want := range map[time.Duration]string{30 * time.Minute: "30m", time.Hour: "1h", 90 * time.Minute: "1h30m",
		90 * time.Second: "1m30s", 10 * time.Second: "10s", 0: "0s"} {
		if got := Short(in); got != want {
			t.Errorf("%v: got %q, want %q", in, got, want)
		}
	}
}
