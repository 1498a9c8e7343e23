// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/folder"
)

const (
	// file1 is the record of schema 1, which had the quarantine and the bans in it.
	file1 = "state.json"
	// converted1 is what file1 is called once it was converted. A file1 beside it is of an older release that ran since.
	converted1 = "state.json.schema-1"
	// maxBytes1 is what releases of schema 1 read.
	maxBytes1 = 64 << 20
)

// record1 is state.json of schema 1.
type record1 struct {
	Schema        int           `json:"schema"`
	LastNumber    uint32        `json:"last_number"`
	Applied       *generation1  `json:"applied"`
	LastKnownGood *generation1  `json:"last_known_good"`
	BakeUntil     time.Time     `json:"bake_until"`
	Confirm       *confirm1     `json:"confirm"`
	ModeHeld      bool          `json:"mode_held"`
	Quarantine    []Quarantined `json:"quarantine"`

	Bypass     map[string]Bypass `json:"bypass"`
	Bans       []Ban             `json:"bans"`
	HostDigest string            `json:"host_digest"`
	Compiled   []Compiled        `json:"compiled"`
}

// generation1 is one bundle: there were no sets.
type generation1 struct {
	Digest config.Digest `json:"digest"`
	Name   string        `json:"name"`
	Number uint32        `json:"number"`
	At     time.Time     `json:"at"`
	By     string        `json:"by"`
}

type confirm1 struct {
	generation1
	Deadline time.Time `json:"deadline"`
}

func decode1(data []byte) (*record1, error) {
	var s struct {
		Checksum string          `json:"checksum"`
		Record   json.RawMessage `json:"record"`
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	if s.Checksum != checksum(s.Record) {
		return nil, fmt.Errorf("%w: its checksum does not fit", errCorrupt)
	}
	if again, err := json.Marshal(s); err != nil || !bytes.Equal(append(again, '\n'), data) {
		return nil, fmt.Errorf("%w: bytes beside the record changed", errCorrupt)
	}
	if err := checkSchema(s.Record, 1, 1); err != nil {
		return nil, err
	}
	r := &record1{}
	if err := json.Unmarshal(s.Record, r); err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return r, nil
}

func (g *generation1) set() *Generation {
	if g == nil {
		return nil
	}
	return &Generation{Digest: g.Digest, Members: One(g.Name, g.Digest), Number: g.Number, At: g.At, By: g.By}
}

// record is what the file says, in the words of today. Its bans go elsewhere.
func (o *record1) record() *Record {
	r := &Record{Schema: recordSchema, LastNumber: o.LastNumber, Applied: o.Applied.set(),
		LastKnownGood: o.LastKnownGood.set(),
		BakeUntil:     o.BakeUntil, ModeHeld: o.ModeHeld, Quarantine: o.Quarantine, Bypass: o.Bypass,
		HostDigest: o.HostDigest, Compiled: o.Compiled}
	if o.Confirm != nil {
		r.Confirm = &Confirm{Generation: *o.Confirm.set(), Deadline: o.Confirm.Deadline}
	}
	bound(r)
	return r
}

// read1 reads a record of schema 1, when there is one: it is of a release that ran since the last conversion. nil, nil:
// there is none.
func (rs *records) read1() (*record1, error) {
	path := filepath.Join(rs.disk.dir, file1)
	data, err := rs.disk.read(path, maxBytes1)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil && !errors.Is(err, errCorrupt) {
		return nil, err
	}
	var old *record1
	if err == nil {
		old, err = decode1(data)
	}
	if errors.Is(err, errCorrupt) {
		rs.disk.setAside(path, err)
		return nil, nil
	}
	return old, err
}

// convert writes what a record of schema 1 says into the files of today. The old file goes last, so that after a crash
// at any point it is converted again.
func (rs *records) convert(old *record1) error {
	lines, err := banLines(nil, sortedBans(old.Bans))
	if err != nil {
		return err
	}
	if err := rs.disk.replace(filepath.Join(rs.disk.dir, bansFile), lines); err != nil {
		return err
	}
	if err := rs.writeRecord(old.record()); err != nil {
		return err
	}
	if err := rs.disk.fault(opRename, filepath.Join(rs.disk.dir, file1)); err != nil {
		return err
	}
	if err := rs.disk.rename(filepath.Join(rs.disk.dir, file1), filepath.Join(rs.disk.dir, converted1)); err != nil {
		return fmt.Errorf("put the record of schema 1 away: %w", err)
	}
	return rs.disk.in(rs.disk.dir, func(f *folder.Folder, name string) error { return f.Sync(name) })
}
