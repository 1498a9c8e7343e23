// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"
)

const (
	hostFile   = "host.json"
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

// hosts is the host file that was kept.
type hosts struct{ disk *disk }

// SaveHost keeps the host file that came into force, unless it is kept already. One that cannot be read is written
// again: what it should say is known.
func (hs *hosts) SaveHost(path string, text []byte) error {
	if err := hs.disk.refusal(); err != nil {
		return fmt.Errorf("keep the host file: %w", err)
	}
	h := Host{Schema: hostSchema, Path: path, Text: string(text), At: hs.disk.now().UTC()}
	known, err := hs.host()
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

// ReadHost returns the host file that was kept in a state folder, which another process may have locked. ErrNoHost when
// there is none; another error when it is there and cannot be read.
func ReadHost(dir string) (*Host, error) { return newStore(dir, Options{}).host() }

func (hs *hosts) host() (*Host, error) {
	data, err := hs.disk.read(filepath.Join(hs.disk.dir, hostFile), maxHostBytes)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errCorrupt) {
		return nil, fmt.Errorf("%w: %w", ErrNoHost, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read the host file that was kept: %w", err)
	}
	h, err := decodeHost(data)
	if errors.Is(err, errCorrupt) {
		hs.disk.log.Error("the host file that was kept is damaged", "file",
			filepath.Join(hs.disk.dir, hostFile), "damage", err)
		return nil, fmt.Errorf("%w: %w", ErrNoHost, err)
	}
	return h, err
}

// ReadRecord returns the record of a state folder that another process may have locked. It changes nothing, whatever it
// finds.
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
	h := &Host{}
	if h.Rest, err = decodeObject(content, h); err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return h, nil
}
