// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"time"
)

// firstYear keeps a typing error from meaning never, which is the zero time.
const firstYear = 2000

func setDuration(into *time.Duration, text string, lim *limits) *refusal {
	v, err := time.ParseDuration(text)
	if err != nil {
		problem := "is no duration"
		if strings.Trim(text, "0123456789") == "" {
			problem = "has no unit"
		}
		return &refusal{code: CodeTime, problem: problem}
	}
	lo, _ := time.ParseDuration(lim.low)
	hi, _ := time.ParseDuration(lim.high)
	if v < lo || v > hi {
		return &refusal{code: CodeRange, problem: "is out of range"}
	}
	*into = v
	return nil
}

// setTime reads RFC 3339 and insists on the offset: a time without one means another moment on every host.
func setTime(into *time.Time, text string) *refusal {
	const valid = "a time with its offset, 2027-01-01T00:00:00Z or 2027-01-01T00:00:00+01:00"
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		for _, form := range []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04",
			time.DateOnly} {
			if _, err := time.Parse(form, text); err == nil {
				return &refusal{CodeTime, "has no offset", valid}
			}
		}
		return &refusal{CodeTime, "is no time", valid}
	}
	if v.Year() < firstYear {
		return &refusal{CodeRange, "is too long ago", valid}
	}
	*into = v.UTC()
	return nil
}
