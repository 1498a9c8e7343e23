// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/spillway/spillway/config"
)

const (
	queueFile   = "queue.json"
	queueSchema = 1
)

// Queued is a change that waits for its turn. Its bundle lies among the bundles.
type Queued struct {
	Rollout string        `json:"rollout"`
	Name    string        `json:"name,omitempty"` // of the bundle; "": none, only Remove is taken out
	Digest  config.Digest `json:"digest,omitzero"`
	Remove  string        `json:"remove,omitempty"`
	Confirm time.Duration `json:"confirm_ns,omitempty"`
	Accept  string        `json:"accept,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	At      time.Time     `json:"at"`
	UID     uint32        `json:"uid"`
	By      string        `json:"by,omitempty"`
	Rest    Rest          `json:"-"`
}

// MarshalJSON implements json.Marshaler.
func (q Queued) MarshalJSON() ([]byte, error) {
	type plain Queued
	return encodeObject(plain(q), q.Rest)
}

// UnmarshalJSON implements json.Unmarshaler.
func (q *Queued) UnmarshalJSON(data []byte) (err error) {
	type plain Queued
	q.Rest, err = decodeObject(data, (*plain)(q))
	return err
}

// queue is queue.json.
type queue struct {
	Schema  int      `json:"schema"`
	Entries []Queued `json:"entries"`
	Rest    Rest     `json:"-"`
}

// queues is what waits, on disk.
type queues struct{ disk *disk }

// SaveQueue replaces what waits.
func (qs *queues) SaveQueue(entries []Queued) error {
	if err := qs.disk.refusal(); err != nil {
		return fmt.Errorf("save the queue: %w", err)
	}
	q := queue{Schema: queueSchema, Entries: slices.Clone(entries)}
	bound(&q)
	if q.Entries == nil {
		q.Entries = []Queued{}
	}
	body, err := encodeObject(q, "")
	if err != nil {
		return fmt.Errorf("save the queue: %w", err)
	}
	data, err := seal(json.RawMessage(body))
	if err != nil {
		return fmt.Errorf("save the queue: %w", err)
	}
	return qs.disk.replace(filepath.Join(qs.disk.dir, queueFile), data)
}

// Queue returns what waited; nothing when the file is missing, or damaged and set aside.
func (qs *queues) Queue() ([]Queued, error) {
	q, err := load(qs.disk, queueFile, decodeQueue)
	return q.Entries, err
}

func decodeQueue(data []byte) (queue, error) {
	var q queue
	content, err := unseal(data, queueSchema, queueSchema)
	if err != nil {
		return q, err
	}
	if q.Rest, err = decodeObject(content, &q); err != nil {
		return q, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return q, nil
}
