// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spillway/spillway/config"
)

const (
	bootFile     = "boot.json"
	bootSchema   = 1
	maxBootBytes = 4 << 10
)

// Boot is the count of starts that did not settle, as it lies on disk before anything is attached.
type Boot struct {
	Schema  int           `json:"schema"`
	Machine string        `json:"machine,omitempty"` // what the kernel calls the boot of the last start
	Digest  config.Digest `json:"digest"`            // what was to be brought into force
	Starts  int           `json:"starts"`            // with it, that did not settle
	Load    uint8         `json:"load"`              // rollout.Load
	Reason  string        `json:"reason,omitempty"`  // why something else is loaded than what the record had
	Rest    Rest          `json:"-"`
}

// Boots lie in a file of their own.
type Boots struct{ disk *disk }

// Boot returns the count. One that is missing, damaged or of a newer release is as none: whoever counts begins anew.
func (bs *Boots) Boot() Boot {
	path := filepath.Join(bs.disk.dir, bootFile)
	data, err := bs.disk.read(path, maxBootBytes)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			bs.disk.log.Warn("the count of starts cannot be read and begins anew", "error", err)
		}
		return Boot{}
	}
	var b Boot
	content, err := unseal(data, bootSchema, bootSchema)
	if err == nil {
		b.Rest, err = decodeObject(content, &b)
	}
	if err != nil {
		bs.disk.log.Warn("the count of starts begins anew", "error", err)
		if errors.Is(err, errCorrupt) {
			bs.disk.setAside(path, err)
		}
		return Boot{}
	}
	return b
}

// SaveBoot writes the count, whole and synced, or returns why not.
func (bs *Boots) SaveBoot(b Boot) error {
	if err := bs.disk.refusal(); err != nil {
		return fmt.Errorf("save the count of starts: %w", err)
	}
	b.Schema = bootSchema
	body, err := encodeObject(b, b.Rest)
	if err != nil {
		return fmt.Errorf("encode the count of starts: %w", err)
	}
	data, err := seal(json.RawMessage(body))
	if err != nil {
		return err
	}
	return bs.disk.replace(filepath.Join(bs.disk.dir, bootFile), data)
}

// Forget leaves no count.
func (bs *Boots) Forget() error {
	if err := bs.disk.refusal(); err != nil {
		return fmt.Errorf("forget the count of starts: %w", err)
	}
	err := bs.disk.remove(filepath.Join(bs.disk.dir, bootFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
