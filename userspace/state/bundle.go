// SPDX-License-Identifier: Apache-2.0

package state

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/config"
)

// ErrNoBundle says that the bundle of a digest is not on disk, or no longer whole.
var ErrNoBundle = errors.New("the bundle is not on disk")

// Unreadable reports whether an error is the kernel's word on a file that it would not read: the file is not damaged,
// and the next attempt may succeed.
func Unreadable(err error) bool {
	return !errors.Is(err, ErrNoBundle) && errors.As(err, new(unix.Errno))
}

// keptBundles is how many bundles stay that nothing refers to.
const keptBundles = 20

// bundles are files under their digests, with their names beside them, and lists of those that are in force together.
type bundles struct{ disk *disk }

// SaveBundle stores the canonical form under its digest. A bundle that is there already is read and, when it is damaged
// or cannot be read, written again: its content is known.
func (bs *bundles) SaveBundle(b *config.Bundle) error {
	if err := bs.disk.refusal(); err != nil {
		return fmt.Errorf("save bundle: %w", err)
	}
	if err := bs.SaveNames(b); err != nil {
		return err
	}
	if _, err := bs.readBundle(b.Digest); err == nil {
		return nil
	}
	data := config.Canonical(b)
	if sum := sha256.Sum256(data); sum != b.Digest {
		return fmt.Errorf("save bundle %q: its digest is not that of its content", b.Name)
	}
	if len(data) > maxBundleBytes {
		return fmt.Errorf("save bundle %q: it takes %d bytes, and %d are read", b.Name, len(data), maxBundleBytes)
	}
	return bs.disk.replace(bs.bundlePath(b.Digest), data)
}

// Bundle returns the bundle of a digest, or the bundles of a set's digest merged into one, as a host compiles them.
// ErrNoBundle when it is missing or damaged; another error when it cannot be read now, and may be later.
func (bs *bundles) Bundle(d config.Digest) (*config.Bundle, error) {
	set, err := bs.Set(d)
	if err != nil {
		return nil, err
	}
	return set.Merge(), nil
}

func (bs *bundles) parseBundle(d config.Digest, data []byte) (*config.Bundle, error) {
	b, err := config.ParseCanonical(data)
	if err != nil {
		bs.disk.setAside(bs.bundlePath(d), err)
		return nil, fmt.Errorf("%w: %s: %w", ErrNoBundle, d.Short(), err)
	}
	return b, nil
}

// Bundles lists the bundles that there are files of.
func (bs *bundles) Bundles() []config.Digest {
	entries, err := os.ReadDir(filepath.Join(bs.disk.dir, bundleDir))
	if err != nil {
		return nil
	}
	var out []config.Digest
	for _, e := range entries {
		var d config.Digest
		if n, err := hex.Decode(d[:], []byte(e.Name())); len(e.Name()) == 2*len(d) && err == nil && n == len(d) {
			out = append(out, d)
		}
	}
	return out
}

// Has reports whether there is a file of the bundle; only Bundle knows whether it is whole.
func (bs *bundles) Has(d config.Digest) bool { return exists(bs.bundlePath(d)) }

func (bs *bundles) readBundle(d config.Digest) ([]byte, error) {
	path := bs.bundlePath(d)
	data, err := bs.disk.read(path, maxBundleBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNoBundle, d.Short())
	}
	if err == nil && sha256.Sum256(data) != d {
		err = fmt.Errorf("%w: its content has another digest", errCorrupt)
	}
	if errors.Is(err, errCorrupt) {
		bs.disk.setAside(path, err)
		return nil, fmt.Errorf("%w: %s: %w", ErrNoBundle, d.Short(), err)
	}
	if err != nil {
		return nil, fmt.Errorf("read bundle %s: %w", d.Short(), err)
	}
	return data, nil
}

func (bs *bundles) bundlePath(d config.Digest) string {
	return filepath.Join(bs.disk.dir, bundleDir, hex.EncodeToString(d[:]))
}

// Prune removes old bundles: those that keep names stay, and of the others the newest 20.
func (bs *bundles) Prune(keep []config.Digest) error {
	if bs.disk.refusal() != nil {
		return nil
	}
	dir := filepath.Join(bs.disk.dir, bundleDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("prune bundles: %w", err)
	}
	if keep, err = bs.withMembers(keep); err != nil {
		return fmt.Errorf("prune bundles: %w", err)
	}
	type old struct {
		path string
		at   time.Time
	}
	var others []old
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || len(e.Name()) != 64 {
			continue
		}
		if !slices.ContainsFunc(keep, func(d config.Digest) bool { return hex.EncodeToString(d[:]) == e.Name() }) {
			others = append(others, old{filepath.Join(dir, e.Name()), info.ModTime()})
		}
	}
	slices.SortFunc(others, func(a, b old) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.path, b.path)) })
	for _, o := range others[min(len(others), keptBundles):] {
		_ = bs.disk.remove(o.path + namesSuffix)
		if err := bs.disk.remove(o.path); err != nil {
			return fmt.Errorf("prune bundles: %w", err)
		}
	}
	return nil
}
