// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"

	"github.com/spillway/spillway/config/yaml"
)

// The methods here give the types of the files the same form in JSON.

// MarshalText returns what String returns.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads a share with its sign, 6%.
func (p *Percent) UnmarshalText(text []byte) error {
	return refused(p.ReadScalar(string(text), yaml.KindNumber, &yaml.Limits{Low: "0%", High: "10000%"}))
}

// MarshalText returns what String returns.
func (t Threshold) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads 1 to 100, or never.
func (t *Threshold) UnmarshalText(text []byte) error {
	return refused(t.ReadScalar(string(text), yaml.KindInteger, nil))
}

// MarshalText returns what String returns.
func (f Frequency) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads a number of connections and a time, 30/m.
func (f *Frequency) UnmarshalText(text []byte) error {
	return refused(f.ReadScalar(string(text), yaml.KindText, nil))
}

// MarshalText returns what String returns.
func (t Timeout) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MarshalText returns what String returns.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads an IP address, or any.
func (a *Address) UnmarshalText(text []byte) error {
	return refused(a.ReadScalar(string(text), yaml.KindText, nil))
}

func refused(r *yaml.Refusal) error {
	if r == nil {
		return nil
	}
	return errors.New(r.Problem)
}
