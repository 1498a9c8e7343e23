// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/spillway/spillway/config"
)

// records are the record and the quarantine, and what an older release left.
type records struct {
	disk *disk
	bans *Bans

	mu         sync.Mutex // guards what follows; it is taken before those of the bans and of the disk
	loaded     bool
	unread     error    // one of them cannot be read: nothing is written over them
	old        *record1 // of a release before, and not yet converted
	quarantine quarantine
	written    []byte // quarantine.json as it was written last
}

// Load returns the record, and reads the bans. A missing or damaged file counts as an empty one: then what the kernel
// holds is all there is. An error says that a file is there and cannot be read now: what is returned is what could be,
// nothing is written over that file, and Reopen tries again.
func (rs *records) Load() (*Record, error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r, err := rs.loadRecord()
	rs.loaded, rs.unread = true, err
	rs.bans.mu.Lock()
	defer rs.bans.mu.Unlock()
	if old := rs.old; old != nil { // it cannot be converted yet: the disk refuses
		for _, b := range old.Bans {
			rs.bans.put(b)
		}
		rs.bans.loaded, rs.bans.dirty = true, true
		return r, err
	}
	return r, errors.Join(err, rs.bans.load())
}

func (rs *records) loadRecord() (*Record, error) {
	empty := &Record{Schema: recordSchema}
	old, err := rs.read1()
	if err != nil {
		return empty, fmt.Errorf("read the record: %w", err)
	}
	rs.old = old
	if old != nil {
		rs.convertOld()
	}
	if rs.old != nil {
		return old.record(), nil
	}
	r, err := load(rs.disk, recordFile, decodeRecord)
	if r == nil {
		r = empty
	}
	q, qerr := load(rs.disk, quarantineFile, decodeQuarantine)
	r.Quarantine, rs.quarantine, rs.written = q.Entries, q, nil
	return r, errors.Join(err, qerr)
}

// Unread is why something of the record or of the bans is not known yet; nil when all that is on disk is.
func (rs *records) Unread() error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return errors.Join(rs.unread, rs.bans.Unread())
}

// convertOld converts a record of schema 1, unless the disk refuses; then it is tried again by the next Save.
func (rs *records) convertOld() {
	err := rs.disk.refusal()
	if err == nil {
		err = rs.convert(rs.old)
	}
	if err != nil {
		rs.disk.log.Error("the record of an older release is read, and cannot be converted now", "error", err)
		return
	}
	rs.disk.log.Info("the record of an older release was converted", "kept_as", filepath.Join(rs.disk.dir, converted1))
	rs.old = nil
}

// load reads a sealed file. Damage sets it aside; whatever else keeps it from being read is an error.
func load[T any](d *disk, name string, decode func([]byte) (T, error)) (content T, err error) {
	path := filepath.Join(d.dir, name)
	data, err := d.read(path, maxRecordBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return content, nil
	}
	if err == nil {
		var c T
		if c, err = decode(data); err == nil {
			return c, nil
		}
	}
	if errors.Is(err, errCorrupt) {
		d.setAside(path, err)
		return content, nil
	}
	return content, fmt.Errorf("read %s: %w", path, err)
}

// Save replaces the record and the quarantine. It refuses what Load would not read: nothing that was written can be
// lost to a limit.
func (rs *records) Save(r *Record) error {
	if err := rs.disk.refusal(); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if !rs.loaded {
		_, err := rs.loadRecord()
		rs.loaded, rs.unread = true, err
	}
	if rs.unread != nil {
		return fmt.Errorf("save state: %w: %w", ErrUnread, rs.unread)
	}
	if rs.old != nil {
		if rs.convertOld(); rs.old != nil {
			return fmt.Errorf("save state: the record of an older release cannot be converted")
		}
	}
	r.Schema = recordSchema
	next := r.Clone()
	bound(next)
	return rs.writeRecord(next)
}

// writeRecord writes the quarantine, when it changed, and then the record.
func (rs *records) writeRecord(r *Record) error {
	q := rs.quarantine
	q.Entries = r.Quarantine
	quarantined, err := encodeQuarantine(q)
	if err == nil {
		err = readable(quarantined, decodeQuarantine)
	}
	if err != nil {
		return fmt.Errorf("save quarantine: %w", err)
	}
	data, err := encodeRecord(r)
	if err == nil {
		err = readable(data, decodeRecord)
	}
	if err != nil {
		return fmt.Errorf("save record: %w", err)
	}
	path := filepath.Join(rs.disk.dir, quarantineFile)
	if !bytes.Equal(quarantined, rs.written) || !exists(path) {
		if err := rs.disk.replace(path, quarantined); err != nil {
			return err
		}
		rs.written, rs.quarantine = quarantined, q
	}
	return rs.disk.replace(filepath.Join(rs.disk.dir, recordFile), data)
}

// readable says why a file would not be read again.
func readable[T any](data []byte, decode func([]byte) (T, error)) error {
	if len(data) > maxRecordBytes {
		return fmt.Errorf("it takes %d bytes, and %d are read", len(data), maxRecordBytes)
	}
	_, err := decode(data)
	return err
}

// Peek reads the record of a folder that another process holds; an empty one when there is none.
func Peek(dir string) *Record {
	s := newStore(dir, Options{})
	data, err := s.disk.read(filepath.Join(dir, recordFile), maxRecordBytes)
	if err == nil {
		if r, err := decodeRecord(data); err == nil {
			return r
		}
	}
	return &Record{Schema: recordSchema}
}

// HasBundle reports whether a folder has a file of the bundle.
func HasBundle(dir string, d config.Digest) bool { return newStore(dir, Options{}).Has(d) }
