// SPDX-License-Identifier: Apache-2.0

package view

import (
	"math"
	"strings"
	"time"

	"github.com/spillway/spillway/loader"
)

// Until says when a bypass ends, behind "everything passes".
func Until(d loader.Deadline) string {
	if d == loader.DeadlineForever {
		return ", until `spillway bypass off`"
	}
	return " for " + short(d.Left())
}

func ends(d loader.Deadline) string {
	if d == loader.DeadlineForever {
		return ""
	}
	return " for another " + short(d.Left())
}

// short prints a duration as a person writes it: 30m, not 30m0s.
func short(d time.Duration) string {
	text := (time.Duration(math.Ceil(d.Seconds())) * time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
