// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spillway/spillway/config"
)

const (
	hostFile   = "host.json"
	beforeFile = "host-before.json"
	hostSchema = 1
	// maxHostBytes is what a host file of 8 MiB takes at most: each byte may be escaped to six.
	maxHostBytes = 64 << 20
)

// ErrNoHost says that no host file was kept, or that the one that was is not whole.
var ErrNoHost = errors.New("no good host file was kept")

// Host is the last host file that was in force: an agent whose host file is broken starts with it.
type Host struct {
	Schema int       `json:"schema"`
	Path   string    `json:"path"` // where it was read
	Text   string    `json:"text"`
	At     time.Time `json:"at"`
	Rest   Rest      `json:"-"`
}

// Hosts are the host files that are kept: the last one in force, and where its change is on trial or was not accepted
// the one before.
type Hosts struct{ disk *disk }

// Before is what the host file in force is compared with, while its change is on trial or was not accepted.
type Before struct {
	Schema int               `json:"schema"`
	Base   config.Inspection `json:"base"`   // what stands behind: what decides goes on with it
	Made   config.Inspection `json:"made"`   // of the host file that the change was made for
	Change config.Digest     `json:"change"` // its name
	At     time.Time         `json:"at"`
	Rest   Rest              `json:"-"`
}

// SaveBefore keeps that.
func (hs *Hosts) SaveBefore(b Before) error {
	if err := hs.disk.refusal(); err != nil {
		return fmt.Errorf("keep the host file before: %w", err)
	}
	if known, _, err := hs.Before(); err == nil {
		b.Rest = known.Rest
	} else if errors.Is(err, errNewer) {
		return fmt.Errorf("keep the host file before: %w", err)
	}
	b.Schema, b.At = hostSchema, hs.disk.now().UTC()
	body, err := encodeObject(b, b.Rest)
	if err != nil {
		return fmt.Errorf("keep the host file before: %w", err)
	}
	data, err := seal(json.RawMessage(body))
	if err != nil {
		return fmt.Errorf("keep the host file before: %w", err)
	}
	return hs.disk.replace(filepath.Join(hs.disk.dir, beforeFile), data)
}

// SaveHost keeps the host file that came into force, unless it is kept already. One that cannot be read is written
// again: what it should say is known.
func (hs *Hosts) SaveHost(path string, text []byte) error {
	if err := hs.disk.refusal(); err != nil {
		return fmt.Errorf("keep the host file: %w", err)
	}
	h := Host{Schema: hostSchema, Path: path, Text: string(text), At: hs.disk.now().UTC()}
	known, err := hs.Host()
	if err == nil && known.Path == h.Path && known.Text == h.Text {
		return nil
	}
	if errors.Is(err, errNewer) {
		return fmt.Errorf("keep the host file: %w", err)
	}
	if known != nil {
		h.Rest = known.Rest
	}
	data, err := encodeHost(h)
	if err != nil {
		return fmt.Errorf("keep the host file: %w", err)
	}
	if again, err := decodeHost(data); err != nil || again.Text != h.Text || len(data) > maxHostBytes {
		return fmt.Errorf("keep the host file: it would not be read again")
	}
	return hs.disk.replace(filepath.Join(hs.disk.dir, hostFile), data)
}

// DropBefore forgets it.
func (hs *Hosts) DropBefore() error {
	if err := hs.disk.refusal(); err != nil {
		return fmt.Errorf("forget the host file before: %w", err)
	}
	if err := hs.disk.remove(filepath.Join(hs.disk.dir, beforeFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the host file before: %w", err)
	}
	return nil
}

// Host is the last host file that was in force. ErrNoHost when there is none, or when it is not whole; another error
// when it is there and cannot be read.
func (hs *Hosts) Host() (*Host, error) {
	content, _, err := hs.load(hostFile)
	if err != nil {
		return nil, err
	}
	return decodeHostContent(content)
}

// Before is what SaveBefore kept, with the errors of Host. damaged: there was something, and it is not whole.
func (hs *Hosts) Before() (b *Before, damaged bool, err error) {
	content, damaged, err := hs.load(beforeFile)
	if err != nil {
		return nil, damaged, err
	}
	b = &Before{}
	if b.Rest, err = decodeObject(content, b); err != nil {
		return nil, true, fmt.Errorf("%w: %w", ErrNoHost, err)
	}
	return b, false, nil
}

// SaveChange keeps the content of a change of the host file under its digest, as a bundle is kept.
func (hs *Hosts) SaveChange(d config.Digest, content []byte) error {
	bs := bundles(*hs)
	if _, err := bs.readBundle(d); err == nil {
		return nil
	}
	if err := hs.disk.refusal(); err != nil {
		return fmt.Errorf("keep the change of the host file: %w", err)
	}
	return hs.disk.replace(bs.bundlePath(d), content)
}

// ReadHost returns the host file that was kept in a state folder, which another process may have locked. ErrNoHost
// when there is none; another error when it is there and cannot be read.
func ReadHost(dir string) (*Host, error) { return newStore(dir, Options{}).hosts.Host() }

// load returns the content of a file; damaged says that it is not whole.
func (hs *Hosts) load(name string) (content json.RawMessage, damaged bool, err error) {
	path := filepath.Join(hs.disk.dir, name)
	data, err := hs.disk.read(path, maxHostBytes)
	if err == nil {
		content, err = unseal(data, hostSchema, hostSchema)
	}
	switch {
	case err == nil:
		return content, false, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, fmt.Errorf("%w: %w", ErrNoHost, err)
	case errors.Is(err, errCorrupt):
		hs.disk.log.Error("the host file that was kept is damaged", "file", path, "damage", err)
		return nil, true, fmt.Errorf("%w: %w", ErrNoHost, err)
	}
	return nil, false, fmt.Errorf("read the host file that was kept: %w", err)
}

// ReadRecord returns the record of a state folder that another process may have locked. It changes nothing, whatever
// it finds.
func ReadRecord(dir string) (*Record, error) {
	data, err := newStore(dir, Options{}).disk.read(filepath.Join(dir, recordFile), maxRecordBytes)
	if err != nil {
		return nil, fmt.Errorf("read the record: %w", err)
	}
	return decodeRecord(data)
}

func encodeHost(h Host) ([]byte, error) {
	body, err := encodeObject(h, h.Rest)
	if err != nil {
		return nil, err
	}
	return seal(json.RawMessage(body))
}

func decodeHost(data []byte) (*Host, error) {
	content, err := unseal(data, hostSchema, hostSchema)
	if err != nil {
		return nil, err
	}
	return decodeHostContent(content)
}

func decodeHostContent(content json.RawMessage) (*Host, error) {
	h := &Host{}
	var err error
	if h.Rest, err = decodeObject(content, h); err != nil {
		return nil, fmt.Errorf("%w: %w: %w", ErrNoHost, errCorrupt, err)
	}
	return h, nil
}
