// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strconv"
	"time"
)

// Percent is a share in hundredths: 30 means 30 %. In YAML it carries its sign: 30%.
type Percent float64

// Fraction returns the share as a number around 0 to 1.
func (p Percent) Fraction() float64 { return float64(p) / 100 }

// String returns the form that the files use, such as 0.5%.
func (p Percent) String() string { return strconv.FormatFloat(float64(p), 'f', -1, 64) + "%" }

// Threshold is the score, 1 to 100, from which a verdict applies. The zero value is never.
type Threshold uint8

// Never is the threshold that no score reaches.
const Never Threshold = 0

// lowest returns the lowest of thresholds that are some score; Never when none is.
func lowest(all ...Threshold) Threshold {
	low := Never
	for _, t := range all {
		if lower(t, low) {
			low = t
		}
	}
	return low
}

// lower reports whether a threshold is reached by scores that do not reach another.
func lower(is, was Threshold) bool {
	return is != Never && (was == Never || is < was)
}

// String returns the number or "never".
func (t Threshold) String() string {
	if t == Never {
		return "never"
	}
	return strconv.Itoa(int(t))
}

// Timeout is a duration after which something happens by itself. The zero value is never.
type Timeout time.Duration

// Never reports whether the timeout is turned off.
func (t Timeout) Never() bool { return t == 0 }

// Duration returns the timeout; 0 when it is never.
func (t Timeout) Duration() time.Duration { return time.Duration(t) }

// String returns the duration or "never".
func (t Timeout) String() string {
	if t.Never() {
		return "never"
	}
	return shortDuration(time.Duration(t))
}

// shortDuration prints a duration the way a person writes it: 10m, not 10m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if n := len(s); n > 3 && s[n-3:] == "m0s" {
		s = s[:n-2]
	}
	if n := len(s); n > 3 && s[n-3:] == "h0m" {
		s = s[:n-2]
	}
	return s
}
