// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/spillway/spillway/config"
)

const (
	quarantineSchema = 1
	// keptQuarantine bounds the list; a day has no more rollbacks than that.
	keptQuarantine = 50
)

// Quarantined is a bundle that was rolled back: to apply it again needs a reason. It is bound to the name and the
// author's digest, so that neither another bundle of the same bytes nor a line of this host's allowlist matters.
type Quarantined struct {
	Name   string        `json:"name,omitempty"` // "": any, of a record that had no names
	Digest config.Digest `json:"digest"`
	At     time.Time     `json:"at"`
	By     string        `json:"by,omitempty"`
	Reason string        `json:"reason,omitempty"`
	Gate   string        `json:"gate,omitempty"` // that decided; "": a person rolled it back
	Rest   Rest          `json:"-"`
}

// Holds reports whether it is this bundle that is in quarantine.
func (q Quarantined) Holds(name string, d config.Digest) bool {
	return q.Digest == d && (q.Name == "" || name == "" || q.Name == name)
}

// AddQuarantine puts what was left into quarantine, or renews what is said about it. Of a set these are its bundles:
// but not those that are in force still, for nobody went back from them. A record of before may not know their names.
func (r *Record) AddQuarantine(q Quarantined) {
	members := One(q.Name, q.Digest)
	if g, known := r.Known(q.Digest); known && len(g.Members) > 0 {
		members = g.Members
	}
	for _, m := range members {
		if r.Applied != nil && slices.ContainsFunc(r.Applied.Members, func(stays Member) bool {
			return Quarantined{Name: m.Name, Digest: m.Digest}.Holds(stays.Name, stays.Digest)
		}) {
			continue
		}
		bundle := q
		bundle.Digest = m.Digest
		if m.Name != "" {
			bundle.Name = m.Name
		}
		r.addQuarantine(bundle)
	}
}

// Condemn puts one bundle into quarantine, also while it is in force: it is about to leave.
func (r *Record) Condemn(q Quarantined) { r.addQuarantine(q) }

func (r *Record) addQuarantine(q Quarantined) {
	r.Lift(q.Name, q.Digest)
	q.At = q.At.UTC()
	r.Quarantine = append(r.Quarantine, q)
	if n := len(r.Quarantine) - keptQuarantine; n > 0 {
		r.Quarantine = r.Quarantine[n:]
	}
}

// Lift ends the quarantine of a bundle.
func (r *Record) Lift(name string, d config.Digest) {
	r.Quarantine = slices.DeleteFunc(slices.Clone(r.Quarantine), func(q Quarantined) bool { return q.Holds(name, d) })
}

// quarantine is quarantine.json.
type quarantine struct {
	Schema  int           `json:"schema"`
	Entries []Quarantined `json:"entries"`
	Rest    Rest          `json:"-"`
}

func encodeQuarantine(q quarantine) ([]byte, error) {
	q.Schema = quarantineSchema
	body, err := encodeObject(q, q.Rest)
	if err != nil {
		return nil, fmt.Errorf("encode the quarantine: %w", err)
	}
	return seal(json.RawMessage(body))
}

func decodeQuarantine(data []byte) (quarantine, error) {
	var q quarantine
	content, err := unseal(data, quarantineSchema, quarantineSchema)
	if err != nil {
		return q, err
	}
	if q.Rest, err = decodeObject(content, &q); err != nil {
		return q, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return q, nil
}
