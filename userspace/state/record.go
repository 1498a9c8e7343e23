// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/spillway/spillway/config"
)

// recordSchema is the only version of state.json that this release reads.
const recordSchema = 1

// Record is state.json: what the agent knows beside the kernel. Times are wall time, so that they mean something after
// a reboot.
type Record struct {
	Schema        int               `json:"schema"`
	LastNumber    uint32            `json:"last_number"` // highest generation number ever given
	LastRollout   uint64            `json:"last_rollout,omitempty"`
	Applied       *Generation       `json:"applied,omitempty"`
	LastKnownGood *Generation       `json:"last_known_good,omitempty"`
	BakeUntil     time.Time         `json:"bake_until,omitzero"` // when applied becomes last-known-good; zero: it is, or there is none
	Confirm       *Confirm          `json:"confirm,omitempty"`
	Held          *Held             `json:"held,omitempty"`
	ModeHeld      bool              `json:"mode_held,omitempty"` // the host file says enforce, and this host observes until a reload
	Quarantine    []Quarantined     `json:"quarantine,omitempty"`
	Bypass        map[string]Bypass `json:"bypass,omitempty"` // by service name; "" is everything
	Bans          []Ban             `json:"bans,omitempty"`
	HostDigest    string            `json:"host_digest,omitempty"` // SHA-256 of the published host file
	Compiled      []Compiled        `json:"compiled,omitempty"`
	Attached      []Attached        `json:"attached,omitempty"` // nothing else is ever detached for this state
}

// Attached is a link that this state made or took over.
type Attached struct {
	Interface string `json:"interface"` // as the host file names it
	Index     int    `json:"index"`
	Link      uint32 `json:"link"` // its id: one that is made later has another
	// Times are those of the last attaches: most cards reset their rings with each.
	Times []time.Time `json:"times,omitempty"`
}

// Generation is a bundle that got a number.
type Generation struct {
	Digest config.Digest `json:"digest"`
	Name   string        `json:"name,omitempty"`
	Number uint32        `json:"number"`
	At     time.Time     `json:"at"`
	By     string        `json:"by,omitempty"`
}

// Confirm is a candidate that goes back at the deadline.
type Confirm struct {
	Generation
	Deadline time.Time `json:"deadline"`
	Rollout  string    `json:"rollout,omitempty"` // its id
}

// Held is a candidate whose lease ended although nobody meant it: the agent was stopped, starved or away. That says nothing
// against the bundle. It waits for a person, and needs no reason to come again.
type Held struct {
	Generation
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// Quarantined is a bundle that was rolled back: to apply it again needs a reason.
type Quarantined struct {
	Digest config.Digest `json:"digest"`
	At     time.Time     `json:"at"`
	By     string        `json:"by,omitempty"`
	Reason string        `json:"reason,omitempty"`
}

// Bypass is who let everything, or one service, pass, and until when.
type Bypass struct {
	Until  time.Time `json:"until,omitzero"` // zero: until it is ended by hand
	Since  time.Time `json:"since"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Ban is a ban with its end in wall time.
type Ban struct {
	Prefix  netip.Prefix `json:"prefix"`
	Expires time.Time    `json:"expires"`
	Made    time.Time    `json:"made"`
	By      string       `json:"by,omitempty"`
	Reason  string       `json:"reason,omitempty"`
}

// Compiled is the moment at which a generation was compiled. Expiries became kernel time then; whoever verifies the
// generation later needs the same two clocks to get the same numbers, and the services of then.
type Compiled struct {
	Number      uint32           `json:"number"`
	Wall        time.Time        `json:"wall"`
	MonotonicNS uint64           `json:"monotonic_ns"`
	Services    map[string]uint8 `json:"services,omitempty"`  // ids by name; nil in records of before: those of today
	Resets      []string         `json:"resets,omitempty"`    // services that a policy may reset
	Allowlist   int              `json:"allowlist,omitempty"` // rows of the host file's
	// Digest is that of what was compiled: the author's where nothing was left out. LeftOutRows third-party rows were left
	// out, for what LeftOut names: the protected and own prefixes of then that such rows lay in.
	Digest      config.Digest  `json:"digest,omitzero"`
	LeftOutRows int            `json:"left_out_rows,omitempty"`
	LeftOut     []netip.Prefix `json:"left_out,omitempty"`
}

// References returns the digests whose bundles must stay on disk.
func (r *Record) References() []config.Digest {
	var out []config.Digest
	if r.Applied != nil {
		out = append(out, r.Applied.Digest)
	}
	if r.LastKnownGood != nil {
		out = append(out, r.LastKnownGood.Digest)
	}
	if r.Confirm != nil {
		out = append(out, r.Confirm.Digest)
	}
	if r.Held != nil {
		out = append(out, r.Held.Digest)
	}
	return out
}

// errCorrupt says that a file does not hold what was written to it.
var errCorrupt = errors.New("the file is damaged")

// sealed is state.json on disk: the record and the SHA-256 of its bytes.
type sealed struct {
	Checksum string          `json:"checksum"`
	Record   json.RawMessage `json:"record"`
}

func encodeRecord(r *Record) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	sum := sha256.Sum256(body)
	out, err := json.Marshal(sealed{hex.EncodeToString(sum[:]), body})
	if err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	return append(out, '\n'), nil
}

// decodeRecord accepts exactly the bytes that encodeRecord writes: whatever byte is changed, it says errCorrupt.
func decodeRecord(data []byte) (*Record, error) {
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	sum := sha256.Sum256(s.Record)
	if s.Checksum != hex.EncodeToString(sum[:]) {
		return nil, fmt.Errorf("%w: its checksum does not fit", errCorrupt)
	}
	r := &Record{}
	if err := json.Unmarshal(s.Record, r); err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	if r.Schema != recordSchema {
		return nil, fmt.Errorf("state.json has schema %d, and this release reads %d", r.Schema, recordSchema)
	}
	again, err := json.Marshal(s)
	if err != nil || !bytes.Equal(append(again, '\n'), data) {
		return nil, fmt.Errorf("%w: bytes beside the record changed", errCorrupt)
	}
	return r, nil
}

// Clone returns a record that shares nothing with r.
func (r *Record) Clone() *Record {
	c := *r
	c.Applied, c.LastKnownGood, c.Confirm = clonePointer(r.Applied), clonePointer(r.LastKnownGood), clonePointer(r.Confirm)
	c.Held = clonePointer(r.Held)
	c.Quarantine, c.Bans, c.Compiled = slices.Clone(r.Quarantine), slices.Clone(r.Bans), slices.Clone(r.Compiled)
	c.Bypass = maps.Clone(r.Bypass)
	c.Attached = slices.Clone(r.Attached)
	for i := range c.Attached {
		c.Attached[i].Times = slices.Clone(c.Attached[i].Times)
	}
	for i := range c.Compiled {
		c.Compiled[i].Services = maps.Clone(c.Compiled[i].Services)
		c.Compiled[i].LeftOut = slices.Clone(c.Compiled[i].LeftOut)
	}
	return &c
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
