// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spillway/spillway/userspace/folder"
)

// The operations on disk, as Options.Fault sees them.
const (
	opRead   = "read"
	opCreate = "create"
	opWrite  = "write"
	opSync   = "sync"
	opRename = "rename"
)

// maxBundleBytes bounds what is read back: a damaged file system may claim any size.
const maxBundleBytes = 1 << 30

// in does something with a file of the folder, by its name there. The folder may be another user's, and is opened each time:
// it may have been put back meanwhile.
func (s *Store) in(path string, do func(f *folder.Folder, name string) error) error {
	name, err := filepath.Rel(s.dir, path)
	if err != nil {
		return err
	}
	f, err := folder.Open(s.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return do(f, name)
}

// replace writes a file whole or not at all: beside its place, synced, renamed, and the folder synced, so that after a
// crash at any point the old or the new content is there.
func (s *Store) replace(path string, data []byte) error {
	if err := s.fault(opCreate, path); err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	return s.in(path, func(f *folder.Folder, name string) error { return s.replaceIn(f, path, name, data) })
}

func (s *Store) replaceIn(in *folder.Folder, path, name string, data []byte) (err error) {
	f, temporary, err := in.CreateTemp(filepath.Join(filepath.Dir(name), newPrefix))
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = in.Remove(temporary)
		}
	}()
	if err := s.write(f, path, data); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("close %s: %w", path, err)
	}
	if err := s.fault(opRename, path); err != nil {
		return fmt.Errorf("rename to %s: %w", path, err)
	}
	if err := in.Rename(temporary, name); err != nil {
		return fmt.Errorf("rename to %s: %w", path, err)
	}
	if err := in.Sync(filepath.Dir(name)); err != nil {
		return fmt.Errorf("sync folder of %s: %w", path, err)
	}
	return nil
}

// open opens a file of the folder.
func (s *Store) open(path string, flag int, mode fs.FileMode) (file *os.File, err error) {
	err = s.in(path, func(f *folder.Folder, name string) (err error) {
		file, err = f.OpenFile(name, flag, mode)
		return err
	})
	return file, err
}

// remove removes a file of the folder.
func (s *Store) remove(path string) error {
	return s.in(path, func(f *folder.Folder, name string) error { return f.Remove(name) })
}

// rename gives a file of the folder another name.
func (s *Store) rename(from, to string) error {
	return s.in(from, func(f *folder.Folder, name string) error {
		next, err := filepath.Rel(s.dir, to)
		if err != nil {
			return err
		}
		return f.Rename(name, next)
	})
}

func (s *Store) write(f *os.File, path string, data []byte) error {
	if err := s.fault(opWrite, path); err != nil {
		_, _ = f.Write(data[:len(data)/2]) // as a full disk does
		return fmt.Errorf("write %s: %w", path, err)
	}
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := s.fault(opSync, path); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

func (s *Store) fault(op, path string) error {
	if s.opts.Fault == nil {
		return nil
	}
	return s.opts.Fault(op, path)
}

// read returns a file of bounded size; fs.ErrNotExist when there is none.
func (s *Store) read(path string, limit int64) ([]byte, error) {
	if err := s.fault(opRead, path); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	f, err := s.open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var data bytes.Buffer
	if info.Size() <= limit { // one that is longer is not read at all; the others take memory once
		data.Grow(int(info.Size()) + bytes.MinRead)
		_, err = data.ReadFrom(io.LimitReader(f, limit+1))
	}
	if err == nil && max(info.Size(), int64(data.Len())) > limit {
		err = fmt.Errorf("%w: more than %d bytes", errCorrupt, limit)
	}
	return data.Bytes(), err
}

// setAside keeps a damaged file for a person and clears its place. Who does not hold the lock leaves it where it is.
func (s *Store) setAside(path string, cause error) {
	if s.refusal() != nil {
		s.log.Error("a file is damaged; what the kernel enforces goes on", "file", path, "damage", cause)
		s.tellDamaged(path)
		return
	}
	aside := s.aside(path)
	if err := s.rename(path, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Error("a damaged file cannot be moved aside", "file", path, "damage", cause, "error", err)
		return
	}
	s.log.Error("a file is damaged and was moved aside; what the kernel enforces goes on", "file", path, "moved_to", aside, "damage", cause)
	s.tellDamaged(aside)
}

func (s *Store) tellDamaged(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.damaged, path) {
		s.damaged = append(s.damaged, path)
	}
}

// keepAside keeps damaged lines of a file for a person. The rest of the file counts.
func (s *Store) keepAside(path string, lines []byte) {
	if s.refusal() != nil {
		s.log.Error("lines of a file are damaged; the others count", "file", path)
		s.tellDamaged(path)
		return
	}
	aside := s.aside(path)
	s.log.Error("lines of a file are damaged; the others count", "file", path, "kept_in", aside)
	if err := s.replace(aside, lines); err != nil {
		s.log.Error("the damaged lines cannot be kept", "file", path, "error", err)
		aside = path
	}
	s.tellDamaged(aside)
}

// aside is a free name for what is damaged of a file.
func (s *Store) aside(path string) string {
	base := path + ".corrupt-" + s.now().UTC().Format("20060102T150405Z")
	aside := base
	for n := 1; exists(aside); n++ {
		aside = fmt.Sprintf("%s-%d", base, n)
	}
	return aside
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// newPrefix begins the name of a file that is not whole yet.
const newPrefix = ".new-"

// sweep removes what a crash left between create and rename.
func sweep(f *folder.Folder, name string) {
	d, err := f.Open(name)
	if err != nil {
		return
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, left := range names {
		if strings.HasPrefix(left, newPrefix) {
			_ = f.Remove(filepath.Join(name, left))
		}
	}
}
