// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/config/yaml"
)

// The scalars of our files that are more than texts and numbers.

// ReadScalar reads 1 to 100, or never.
func (t *Threshold) ReadScalar(text, kind string, _ *yaml.Limits) *yaml.Refusal {
	if text == "never" {
		*t = Never
		return nil
	}
	lo, hi := int64(1), int64(100)
	var v uint8
	r := yaml.ReadInteger(reflect.ValueOf(&v).Elem(), text, kind, &yaml.Limits{Minimum: &lo, Maximum: &hi})
	if r == nil {
		*t = Threshold(v)
	}
	return r
}

// Describe says what would be right.
func (t *Threshold) Describe(*yaml.Limits) string { return "1 to 100, or never" }

// ReadScalar reads a share with its sign, 6%.
func (p *Percent) ReadScalar(text, _ string, lim *yaml.Limits) *yaml.Refusal {
	digits, ok := strings.CutSuffix(text, "%")
	digits = strings.TrimRight(digits, " ")
	whole, part, point := strings.Cut(digits, ".")
	if !ok || whole == "" || strings.Trim(whole+part, "0123456789") != "" || (point && part == "") || len(digits) > 12 {
		return &yaml.Refusal{Code: yaml.CodeType, Problem: "is no share"}
	}
	v, err := strconv.ParseFloat(digits, 64)
	lo, _ := strconv.ParseFloat(strings.TrimSuffix(lim.Low, "%"), 64)
	hi, _ := strconv.ParseFloat(strings.TrimSuffix(lim.High, "%"), 64)
	if err != nil || v < lo || v > hi {
		return &yaml.Refusal{Code: yaml.CodeRange, Problem: "is out of range"}
	}
	*p = Percent(v)
	return nil
}

// Describe says what would be right.
func (p *Percent) Describe(lim *yaml.Limits) string {
	return fmt.Sprintf("%s to %s, with its sign (6%%)", lim.Low, lim.High)
}

// ReadScalar reads a duration, or never.
func (t *Timeout) ReadScalar(text, _ string, lim *yaml.Limits) *yaml.Refusal {
	if text == "never" {
		*t = 0
		return nil
	}
	return yaml.ReadDuration((*time.Duration)(t), text, lim)
}

// Describe says what would be right.
func (t *Timeout) Describe(lim *yaml.Limits) string {
	return fmt.Sprintf("%s to %s with its unit (15m), or never", lim.Low, lim.High)
}

// ReadScalar reads an IP address, or any.
func (a *Address) ReadScalar(text, _ string, _ *yaml.Limits) *yaml.Refusal {
	if text == "any" {
		*a = Address{}
		return nil
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Zone() != "" {
		return &yaml.Refusal{Code: yaml.CodeSyntax, Problem: "is no IP address"}
	}
	if ip = ip.Unmap(); ip.IsUnspecified() || ip.IsMulticast() {
		return &yaml.Refusal{Code: yaml.CodeReserved, Problem: "is no address of a host"}
	}
	a.IP = ip
	return nil
}

// Describe says what would be right.
func (a *Address) Describe(*yaml.Limits) string { return "any, or an IP address" }

// ReadScalar reads a number of connections and the time in which they come, 30/m.
func (f *Frequency) ReadScalar(text, _ string, _ *yaml.Limits) *yaml.Refusal {
	digits, unit, slash := strings.Cut(text, "/")
	per, known := periods[unit]
	decimal := digits != "" && strings.Trim(digits, "0123456789") == "" && (digits[0] != '0' || digits == "0")
	switch {
	case !slash && decimal:
		return &yaml.Refusal{Code: yaml.CodeType, Problem: "does not say in which time"}
	case !decimal:
		return &yaml.Refusal{Code: yaml.CodeType, Problem: "is no number of connections in a time"}
	case !known:
		return &yaml.Refusal{Code: yaml.CodeType, Problem: "has none of the times s, m and h after its /"}
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	switch {
	case err == nil && n == 0:
		return &yaml.Refusal{Code: yaml.CodeRange, Problem: "admits nobody"}
	case err != nil || per/time.Duration(n) < minInterval:
		return &yaml.Refusal{Code: yaml.CodeRange, Problem: "is more than 1000 in a second"}
	}
	*f = Frequency{Count: uint32(n), Per: per}
	return nil
}

// Describe says what would be right.
func (f *Frequency) Describe(*yaml.Limits) string {
	return "a number of connections and s, m or h: 1/h to 1000/s, such as 30/m"
}

// ReadScalar reads what a limit counts together.
func (k *LimitKey) ReadScalar(text, _ string, lim *yaml.Limits) *yaml.Refusal {
	switch {
	case slices.Contains(lim.Enum, text):
		*k = LimitKey(text)
		return nil
	case text == "fingerprint":
		return &yaml.Refusal{Code: yaml.CodeRange, Valid: string(LimitByFingerprint),
			Problem: "is none of its values: a fingerprint alone is what millions of visitors of one browser share"}
	}
	problem := "is none of its values"
	if near := words.Nearest(text, lim.Enum); near != "" {
		problem += "; did you mean " + near + "?"
	}
	return &yaml.Refusal{Code: yaml.CodeRange, Problem: problem}
}

// Describe says what would be right.
func (k *LimitKey) Describe(lim *yaml.Limits) string { return words.List(lim.Enum, "or") }
