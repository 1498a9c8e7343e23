// SPDX-License-Identifier: Apache-2.0

package state

import (
	"maps"
	"slices"

	"github.com/spillway/spillway/config"
)

// Terms are those of a service when a generation was compiled for it.
type Terms struct {
	Service string `json:"service"`
	config.Terms
	Rest Rest `json:"-"`
}

// TermsOf returns terms by name as a record has them.
func TermsOf(byName map[string]config.Terms) (all []Terms) {
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, Terms{Service: name, Terms: byName[name]})
	}
	return all
}

// TermsByName is the opposite of TermsOf; nil where the record has none.
func (c *Compiled) TermsByName() map[string]config.Terms {
	if c.Terms == nil {
		return nil
	}
	byName := map[string]config.Terms{}
	for _, t := range c.Terms {
		byName[t.Service] = t.Terms
	}
	return byName
}

// MarshalJSON implements json.Marshaler.
func (t Terms) MarshalJSON() ([]byte, error) {
	type plain Terms
	return encodeObject(plain(t), t.Rest)
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Terms) UnmarshalJSON(data []byte) (err error) {
	type plain Terms
	t.Rest, err = decodeObject(data, (*plain)(t))
	return err
}
