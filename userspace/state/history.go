// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/folder"
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
	// Decision is that of a gate of a rollout, as the API tells it.
	Decision json.RawMessage `json:"decision,omitempty"`
}

const (
	// maxHistoryBytes is when the history is turned over; one older file stays. It is some 50,000 changes.
	maxHistoryBytes = 16 << 20
	// maxDetails keeps one refusal from filling the history.
	maxDetails = 50
	// maxDecision keeps one decision from it: it has some 20 numbers and at most five rules.
	maxDecision = 32 << 10
)

// history is a line for each change.
type history struct{ disk *disk }

// Append adds an entry. A zero At is now.
func (h *history) Append(e Entry) error {
	if err := h.disk.refusal(); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	if e.At.IsZero() {
		e.At = h.disk.now()
	}
	e.At = e.At.UTC().Truncate(time.Millisecond)
	line, err := encodeEntry(e)
	if err != nil {
		return err
	}
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	path := filepath.Join(h.disk.dir, historyFile)
	if info, err := os.Lstat(path); err == nil && info.Size() > maxHistoryBytes {
		if err := h.disk.rename(path, path+".1"); err != nil {
			return fmt.Errorf("turn history over: %w", err)
		}
	}
	if err := h.disk.fault(opCreate, path); err != nil {
		return fmt.Errorf("open history: %w", err)
	}
	f, err := h.disk.open(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("open history: %w", err)
	}
	if torn(f) {
		line = append([]byte{'\n'}, line...)
	}
	err = h.disk.write(f, path, line)
	if cerr := f.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("close history: %w", cerr)
	}
	return err
}

// History returns the newest limit entries first, all of them when limit is 0, and how many lines could not be read.
func (h *history) History(limit int) (entries []Entry, skipped int, err error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.disk.fault(opRead, filepath.Join(h.disk.dir, historyFile)); err != nil {
		return nil, 0, fmt.Errorf("read history: %w", err)
	}
	return ReadHistory(h.disk.dir, limit)
}

// ReadHistory reads the history of a state folder that another process may have locked.
func ReadHistory(dir string, limit int) (entries []Entry, skipped int, err error) {
	in, err := folder.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read history: %w", err)
	}
	defer in.Close()
	for _, name := range []string{historyFile + ".1", historyFile} {
		f, err := in.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read history: %w", err)
		}
		err = eachLine(f, func(line []byte, _ bool) {
			e, err := decodeEntry(line)
			if err != nil {
				skipped++
				return
			}
			if entries = append(entries, e); limit > 0 && len(entries) >= 2*limit+100 { // what is older is not held
				entries = append(entries[:0], entries[len(entries)-limit:]...)
			}
		})
		_ = f.Close()
		if err != nil {
			return nil, 0, fmt.Errorf("read history: %w", err)
		}
	}
	slices.Reverse(entries)
	if limit > 0 && len(entries) > limit {
		entries = entries[:limit]
	}
	return entries, skipped, nil
}

func encodeEntry(e Entry) ([]byte, error) {
	e.Detail = slices.Clone(e.Detail)
	if more := len(e.Detail) - maxDetails; more > 0 {
		e.Detail = append(e.Detail[:maxDetails], fmt.Sprintf("and %d more", more))
	}
	if len(e.Decision) > maxDecision {
		e.Decision = nil
	}
	bound(&e)
	line, err := sealLine(e)
	if err != nil {
		return nil, fmt.Errorf("encode history: %w", err)
	}
	return line, nil
}

func decodeEntry(line []byte) (Entry, error) {
	var e Entry
	body, err := openLine(line)
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return e, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return e, nil
}
