// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spillway/spillway/config"
)

// Load returns the record, and reads the bans. A missing or damaged file counts as an empty one: then what the kernel
// holds is all there is. An error says that a file is there and cannot be read now: what is returned is what could be,
// nothing is written over that file, and Reopen tries again.
func (s *Store) Load() (*Record, error) {
	s.record.Lock()
	defer s.record.Unlock()
	r, err := s.loadRecord()
	s.record.loaded, s.record.unread = true, err
	s.bans.mu.Lock()
	defer s.bans.mu.Unlock()
	if old := s.record.old; old != nil { // it cannot be converted yet: the disk refuses
		for _, b := range old.Bans {
			s.bans.put(b)
		}
		s.bans.loaded, s.bans.dirty = true, true
		return r, err
	}
	return r, errors.Join(err, s.bans.load())
}

func (s *Store) loadRecord() (*Record, error) {
	empty := &Record{Schema: recordSchema}
	old, err := s.read1()
	if err != nil {
		return empty, fmt.Errorf("read the record: %w", err)
	}
	s.record.old = old
	if old != nil {
		s.convertOld()
	}
	if s.record.old != nil {
		return old.record(), nil
	}
	r, err := load(s, recordFile, decodeRecord)
	if r == nil {
		r = empty
	}
	q, qerr := load(s, quarantineFile, decodeQuarantine)
	r.Quarantine, s.record.quarantine, s.record.written = q.Entries, q, nil
	return r, errors.Join(err, qerr)
}

// convertOld converts a record of schema 1, unless the disk refuses; then it is tried again by the next Save.
func (s *Store) convertOld() {
	err := s.refusal()
	if err == nil {
		err = s.convert(s.record.old)
	}
	if err != nil {
		s.log.Error("the record of an older release is read, and cannot be converted now", "error", err)
		return
	}
	s.log.Info("the record of an older release was converted", "kept_as", filepath.Join(s.dir, converted1))
	s.record.old = nil
}

// load reads a sealed file. Damage sets it aside; whatever else keeps it from being read is an error.
func load[T any](s *Store, name string, decode func([]byte) (T, error)) (content T, err error) {
	path := filepath.Join(s.dir, name)
	data, err := s.read(path, maxRecordBytes)
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
		s.setAside(path, err)
		return content, nil
	}
	return content, fmt.Errorf("read %s: %w", path, err)
}

// Save replaces the record and the quarantine. It refuses what Load would not read: nothing that was written can be lost
// to a limit.
func (s *Store) Save(r *Record) error {
	if err := s.refusal(); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	s.record.Lock()
	defer s.record.Unlock()
	if !s.record.loaded {
		_, err := s.loadRecord()
		s.record.loaded, s.record.unread = true, err
	}
	if s.record.unread != nil {
		return fmt.Errorf("save state: %w: %w", ErrUnread, s.record.unread)
	}
	if s.record.old != nil {
		if s.convertOld(); s.record.old != nil {
			return fmt.Errorf("save state: the record of an older release cannot be converted")
		}
	}
	r.Schema = recordSchema
	next := r.Clone()
	bound(next)
	return s.writeRecord(next)
}

// writeRecord writes the quarantine, when it changed, and then the record.
func (s *Store) writeRecord(r *Record) error {
	q := s.record.quarantine
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
	path := filepath.Join(s.dir, quarantineFile)
	if !bytes.Equal(quarantined, s.record.written) || !exists(path) {
		if err := s.replace(path, quarantined); err != nil {
			return err
		}
		s.record.written, s.record.quarantine = quarantined, q
	}
	return s.replace(filepath.Join(s.dir, recordFile), data)
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
	data, err := s.read(filepath.Join(dir, recordFile), maxRecordBytes)
	if err == nil {
		if r, err := decodeRecord(data); err == nil {
			return r
		}
	}
	return &Record{Schema: recordSchema}
}

// HasBundle reports whether a folder has a file of the bundle.
func HasBundle(dir string, d config.Digest) bool { return newStore(dir, Options{}).Has(d) }
