// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/loader/kernel"
	"github.com/spillway/spillway/loader/pins"
)

// Detach takes everything out of the kernel: first the links, so that traffic passes, then programs, maps and folders.
// The Dataplane is of no use afterwards but to be closed.
func (ls *Links) Detach() error { return DetachPins(ls.pins.Path) }

// DetachPins does the same for whatever lies below a pin folder, of any version and in any state.
func DetachPins(folder string) error {
	versions, err := filepath.Glob(filepath.Join(folder, "v*"))
	if err != nil {
		return err
	}
	// the links are there; before ABI 3 they were below v*
	versions = append(versions, pins.Folder{Path: folder}.RootFolder())
	var errs []error
	for _, version := range versions {
		// The folder may be a user's with fewer rights: a symbolic link there leads root to nobody else's links.
		if isSymlink(version) || isSymlink(filepath.Join(version, "links")) {
			continue
		}
		links, err := filepath.Glob(filepath.Join(version, "links", "*"))
		errs = append(errs, err)
		for _, l := range links {
			if !isSymlink(l) {
				errs = append(errs, detachLink(l))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err // maps stay while a link may still use them
	}
	for _, version := range versions {
		errs = append(errs, dropEgress(filepath.Join(version, "egress"), func(string, int) bool { return false }))
	}
	all := pins.Folder{Path: folder}
	for _, made := range append(versions, all.Conntrack(), all.Tastes()) {
		errs = append(errs, os.RemoveAll(made))
	}
	if err := os.Remove(folder); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
		errs = append(errs, err)
	}
	return kernel.Explain("remove the pins", errors.Join(errs...))
}

// detachLink unpins a link. Others may still hold it (a second handle, another pin), so it is detached first.
func detachLink(path string) error {
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return kernel.Explain("open the pinned link "+filepath.Base(path), err)
	}
	defer func() { _ = l.Close() }()
	if err := l.Detach(); err != nil && !errors.Is(err, unix.ENOLINK) {
		return kernel.Explain("detach from "+filepath.Base(path), err)
	}
	return pins.Remove(path)
}

func isSymlink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().Type() == fs.ModeSymlink
}
