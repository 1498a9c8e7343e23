// SPDX-License-Identifier: Apache-2.0

package state

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spillway/spillway/config"
)

// Names are what people read of a bundle: a million prefixes need not be read to say what a rule is called. They lie
// beside the bundle.
type Names struct {
	Schema int           `json:"schema"`
	Name   string        `json:"name"`
	Rules  []config.Rule `json:"rules"`
	// Matched is what each of the rules matches; an older agent wrote none.
	Matched []string `json:"matched,omitempty"`
	// Stored is when the bundle came to this disk; zero where there is no file of it.
	Stored time.Time `json:"-"`
}

const (
	namesSchema   = 1
	namesSuffix   = ".names"
	maxNamesBytes = 32 << 20 // 65,535 rules with labels and notes
)

// SaveNames stores the names of a bundle, unless they are there.
func (bs *bundles) SaveNames(b *config.Bundle) error {
	if err := bs.disk.refusal(); err != nil {
		return fmt.Errorf("save names: %w", err)
	}
	if _, err := bs.Names(b.Digest); err == nil {
		return nil
	}
	data, err := seal(Names{Schema: namesSchema, Name: b.Name, Rules: b.Rules, Matched: b.Matched()})
	if err != nil {
		return fmt.Errorf("save names: %w", err)
	}
	if len(data) > maxNamesBytes {
		return nil // they would not be read again; the bundle has them too
	}
	return bs.disk.replace(bs.bundlePath(b.Digest)+namesSuffix, data)
}

// Names returns the names of a bundle; ErrNoBundle when they are missing or damaged: the bundle has them too.
func (bs *bundles) Names(d config.Digest) (*Names, error) {
	data, err := bs.disk.read(bs.bundlePath(d)+namesSuffix, maxNamesBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: names of %s", ErrNoBundle, d.Short())
	}
	if err != nil {
		return nil, fmt.Errorf("read names of %s: %w", d.Short(), err)
	}
	content, err := unseal(data, namesSchema, namesSchema)
	n := &Names{}
	if err == nil {
		err = json.Unmarshal(content, n)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: names of %s: %w", ErrNoBundle, d.Short(), err)
	}
	if info, err := os.Stat(bs.bundlePath(d)); err == nil {
		n.Stored = info.ModTime()
	}
	return n, nil
}

// Whole reports whether a bundle, or each bundle of a set, is on disk as it was written, in little memory; ErrNoBundle
// when not.
func (bs *bundles) Whole(d config.Digest) error {
	if err := bs.wholeFile(d); err != nil {
		return err
	}
	members, err := bs.Members(d)
	if Unreadable(err) {
		return err
	}
	if err != nil {
		return nil // it is a bundle
	}
	for _, m := range members {
		if err := bs.wholeFile(m.Digest); err != nil {
			return err
		}
	}
	return nil
}

func (bs *bundles) wholeFile(d config.Digest) error {
	path := bs.bundlePath(d)
	if err := bs.disk.fault(opRead, path); err != nil {
		return fmt.Errorf("look at bundle %s: %w", d.Short(), err)
	}
	f, err := bs.disk.open(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNoBundle, d.Short())
	}
	if err != nil {
		return fmt.Errorf("look at bundle %s: %w", d.Short(), err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, maxBundleBytes)); err != nil {
		return fmt.Errorf("look at bundle %s: %w", d.Short(), err)
	}
	if config.Digest(h.Sum(nil)) != d {
		err := fmt.Errorf("%w: its content has another digest", errCorrupt)
		bs.disk.setAside(path, err)
		return fmt.Errorf("%w: %s: %w", ErrNoBundle, d.Short(), err)
	}
	return nil
}
