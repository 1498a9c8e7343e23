// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spillway/spillway/config"
)

// Entry is one line of the history: a change, or an attempt at one.
type Entry struct {
	At      time.Time     `json:"at"`
	UID     uint32        `json:"uid"`
	User    string        `json:"user"`
	Verb    string        `json:"verb"`
	Reason  string        `json:"reason,omitempty"`
	Digest  config.Digest `json:"digest,omitzero"`
	Name    string        `json:"name,omitempty"`
	Number  uint32        `json:"number,omitempty"`
	Outcome string        `json:"outcome"`
	Detail  []string      `json:"detail,omitempty"`
}

const (
	// maxHistoryBytes is when the history is turned over; one older file stays. It is some 50,000 changes.
	maxHistoryBytes = 16 << 20
	// maxDetails and maxDetailBytes keep one refusal from filling the history.
	maxDetails     = 50
	maxDetailBytes = 500

	sumBytes = 8 // of each line's SHA-256: against tears and flips, not against forgers
)

// Append adds an entry. A zero At is now.
func (s *Store) Append(e Entry) error {
	if err := s.refusal(); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	if e.At.IsZero() {
		e.At = s.now()
	}
	e.At = e.At.UTC().Truncate(time.Millisecond)
	line, err := encodeEntry(e)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	path := filepath.Join(s.dir, historyFile)
	if info, err := os.Stat(path); err == nil && info.Size() > maxHistoryBytes {
		if err := os.Rename(path, path+".1"); err != nil {
			return fmt.Errorf("turn history over: %w", err)
		}
	}
	if err := s.fault(opCreate, path); err != nil {
		return fmt.Errorf("open history: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("open history: %w", err)
	}
	if torn(f) {
		line = append([]byte{'\n'}, line...)
	}
	err = s.write(f, path, line)
	if cerr := f.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("close history: %w", cerr)
	}
	return err
}

// torn reports whether the last line has no end: a crash or a full disk cut it off.
func torn(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], info.Size()-1)
	return err == nil && last[0] != '\n'
}

// History returns the newest limit entries first, all of them when limit is 0, and how many lines could not be read.
func (s *Store) History(limit int) (entries []Entry, skipped int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return readHistory(s.dir, limit)
}

// ReadHistory reads the history of a state folder that another process may have locked.
func ReadHistory(dir string, limit int) (entries []Entry, skipped int, err error) {
	return readHistory(dir, limit)
}

func readHistory(dir string, limit int) (entries []Entry, skipped int, err error) {
	for _, name := range []string{historyFile + ".1", historyFile} {
		data, err := read(filepath.Join(dir, name), 4*maxHistoryBytes)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read history: %w", err)
		}
		for line := range bytes.Lines(data) {
			line = bytes.TrimSuffix(line, []byte{'\n'})
			if len(line) == 0 {
				continue
			}
			e, err := decodeEntry(line)
			if err != nil {
				skipped++
				continue
			}
			entries = append(entries, e)
		}
	}
	slices.Reverse(entries)
	if limit > 0 && len(entries) > limit {
		entries = entries[:limit]
	}
	return entries, skipped, nil
}

func encodeEntry(e Entry) ([]byte, error) {
	if more := len(e.Detail) - maxDetails; more > 0 {
		e.Detail = append(slices.Clone(e.Detail[:maxDetails]), fmt.Sprintf("and %d more", more))
	}
	for i, d := range e.Detail {
		if len(d) > maxDetailBytes {
			e.Detail = slices.Clone(e.Detail)
			e.Detail[i] = string(bytes.ToValidUTF8([]byte(d[:maxDetailBytes]), nil)) + "…"
		}
	}
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode history: %w", err)
	}
	return fmt.Appendf(body[:len(body)-1], `,"sum":"%s"}`+"\n", lineSum(body)), nil
}

func decodeEntry(line []byte) (Entry, error) {
	var e Entry
	tail := len(`,"sum":""}`) + 2*sumBytes
	if len(line) < tail {
		return e, errCorrupt
	}
	body := append(bytes.Clone(line[:len(line)-tail]), '}')
	if want := fmt.Appendf(nil, `,"sum":"%s"}`, lineSum(body)); !bytes.Equal(want, line[len(line)-tail:]) {
		return e, errCorrupt
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return e, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return e, nil
}

func lineSum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:sumBytes])
}
