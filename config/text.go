// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
)

// The methods here give the types of the files the same form in JSON.

// MarshalText returns what String returns.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads a share with its sign, 6%.
func (p *Percent) UnmarshalText(text []byte) error {
	return refused(setPercent(p, string(text), &limits{low: "0%", high: "10000%"}))
}

// MarshalText returns what String returns.
func (t Threshold) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads 1 to 100, or never.
func (t *Threshold) UnmarshalText(text []byte) error {
	return refused(setThreshold(t, string(text), kindInteger))
}

// MarshalText returns what String returns.
func (t Timeout) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MarshalText returns what String returns.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads an IP address, or any.
func (a *Address) UnmarshalText(text []byte) error { return refused(setAddress(a, string(text))) }

func refused(r *refusal) error {
	if r == nil {
		return nil
	}
	return errors.New(r.problem)
}
