// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"time"
)

// The objects of the state keep the fields that they do not know; rest.go says how. Each method goes by a type without
// methods, or it would call itself.

// MarshalJSON implements json.Marshaler.
func (r Record) MarshalJSON() ([]byte, error) {
	type plain Record
	return encodeObject(plain(r), r.Rest)
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Record) UnmarshalJSON(data []byte) (err error) {
	type plain Record
	r.Rest, err = decodeObject(data, (*plain)(r))
	return err
}

// MarshalJSON implements json.Marshaler.
func (g Generation) MarshalJSON() ([]byte, error) {
	type plain Generation
	return encodeObject(plain(g), g.Rest)
}

// UnmarshalJSON implements json.Unmarshaler.
func (g *Generation) UnmarshalJSON(data []byte) (err error) {
	type plain Generation
	g.Rest, err = decodeObject(data, (*plain)(g))
	return err
}

// MarshalJSON implements json.Marshaler.
func (m Member) MarshalJSON() ([]byte, error) {
	type plain Member
	return encodeObject(plain(m), m.Rest)
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *Member) UnmarshalJSON(data []byte) (err error) {
	type plain Member
	m.Rest, err = decodeObject(data, (*plain)(m))
	return err
}

// What Confirm and Held have beside their generation; the two are one object.
type (
	confirmMore struct {
		Deadline time.Time `json:"deadline"`
		Rollout  string    `json:"rollout,omitempty"`
	}
	heldMore struct {
		Since  time.Time `json:"since"`
		Reason string    `json:"reason"`
	}
)

func encodeWith(g Generation, more any) ([]byte, error) {
	body, err := encode(g)
	if err != nil {
		return nil, err
	}
	rest, err := encode(more)
	if err != nil {
		return nil, err
	}
	return join(body, rest), nil
}

// decodeWith decodes a generation and what lies beside it; what neither has is the generation's rest.
func decodeWith(data []byte, g *Generation, more any) error {
	if err := json.Unmarshal(data, g); err != nil {
		return err
	}
	var err error
	if g.Rest != "" {
		g.Rest, err = decodeObject([]byte(g.Rest), more)
	}
	return err
}

// MarshalJSON implements json.Marshaler.
func (c Confirm) MarshalJSON() ([]byte, error) {
	return encodeWith(c.Generation, confirmMore{c.Deadline, c.Rollout})
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *Confirm) UnmarshalJSON(data []byte) error {
	var more confirmMore
	err := decodeWith(data, &c.Generation, &more)
	c.Deadline, c.Rollout = more.Deadline, more.Rollout
	return err
}

// MarshalJSON implements json.Marshaler.
func (h Held) MarshalJSON() ([]byte, error) {
	return encodeWith(h.Generation, heldMore{h.Since, h.Reason})
}

// UnmarshalJSON implements json.Unmarshaler.
func (h *Held) UnmarshalJSON(data []byte) error {
	var more heldMore
	err := decodeWith(data, &h.Generation, &more)
	h.Since, h.Reason = more.Since, more.Reason
	return err
}

// MarshalJSON implements json.Marshaler.
func (a Attached) MarshalJSON() ([]byte, error) {
	type plain Attached
	return encodeObject(plain(a), a.Rest)
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *Attached) UnmarshalJSON(data []byte) (err error) {
	type plain Attached
	a.Rest, err = decodeObject(data, (*plain)(a))
	return err
}

// MarshalJSON implements json.Marshaler.
func (b Bypass) MarshalJSON() ([]byte, error) {
	type plain Bypass
	return encodeObject(plain(b), b.Rest)
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *Bypass) UnmarshalJSON(data []byte) (err error) {
	type plain Bypass
	b.Rest, err = decodeObject(data, (*plain)(b))
	return err
}

// MarshalJSON implements json.Marshaler.
func (c Compiled) MarshalJSON() ([]byte, error) {
	type plain Compiled
	return encodeObject(plain(c), c.Rest)
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *Compiled) UnmarshalJSON(data []byte) (err error) {
	type plain Compiled
	c.Rest, err = decodeObject(data, (*plain)(c))
	return err
}

// MarshalJSON implements json.Marshaler.
func (q Quarantined) MarshalJSON() ([]byte, error) {
	type plain Quarantined
	return encodeObject(plain(q), q.Rest)
}

// UnmarshalJSON implements json.Unmarshaler.
func (q *Quarantined) UnmarshalJSON(data []byte) (err error) {
	type plain Quarantined
	q.Rest, err = decodeObject(data, (*plain)(q))
	return err
}

// MarshalJSON implements json.Marshaler.
func (b Ban) MarshalJSON() ([]byte, error) {
	type plain Ban
	return encodeObject(plain(b), b.Rest)
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *Ban) UnmarshalJSON(data []byte) (err error) {
	type plain Ban
	b.Rest, err = decodeObject(data, (*plain)(b))
	return err
}
