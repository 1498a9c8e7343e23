// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// durationFlag is a length of time above zero, as people write it: 90s, 30m, 2h, 1d.
type durationFlag struct{ d *time.Duration }

func (f durationFlag) String() string {
	if f.d == nil || *f.d == 0 {
		return ""
	}
	return f.d.String()
}

func (durationFlag) Type() string { return "duration" }

func (f durationFlag) Set(s string) error {
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); err != nil && ok {
		n, derr := strconv.ParseUint(days, 10, 16)
		d, err = time.Duration(n)*24*time.Hour, derr
	}
	if err != nil || d <= 0 {
		return fmt.Errorf("valid: 90s, 30m, 2h, 1d")
	}
	*f.d = d
	return nil
}
