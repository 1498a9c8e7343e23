// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"testing"
	"time"
)

func TestDeadlines(t *testing.T) {
	if Deadline(0).Active() || !DeadlineForever.Active() || !In(time.Hour).Active() || In(-time.Hour).Active() {
		t.Error("deadlines")
	}
}
