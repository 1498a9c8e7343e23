// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"strings"
	"time"
)

// firstYear keeps a typing error from meaning never, which is the zero time.
const firstYear = 2000

// ReadDuration reads a duration with its unit, between the limits.
func ReadDuration(into *time.Duration, text string, lim *Limits) *Refusal {
	v, err := time.ParseDuration(text)
	if err != nil {
		problem := "is no duration"
		if strings.Trim(text, "0123456789") == "" {
			problem = "has no unit"
		}
		return &Refusal{Code: CodeTime, Problem: problem}
	}
	lo, _ := time.ParseDuration(lim.Low)
	hi, _ := time.ParseDuration(lim.High)
	if v < lo || v > hi {
		return &Refusal{Code: CodeRange, Problem: "is out of range"}
	}
	*into = v
	return nil
}

// setTime reads RFC 3339 and insists on the offset: a time without one means another moment on every host.
func setTime(into *time.Time, text string) *Refusal {
	const valid = "a time with its offset, 2027-01-01T00:00:00Z or 2027-01-01T00:00:00+01:00"
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		for _, form := range []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04",
			time.DateOnly} {
			if _, err := time.Parse(form, text); err == nil {
				return &Refusal{CodeTime, "has no offset", valid}
			}
		}
		return &Refusal{CodeTime, "is no time", valid}
	}
	if v.Year() < firstYear {
		return &Refusal{CodeRange, "is too long ago", valid}
	}
	*into = v.UTC()
	return nil
}
