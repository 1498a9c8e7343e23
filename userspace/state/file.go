// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

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

// disk is the files of the folder, whatever they hold.
type disk struct {
	dir  string
	opts Options
	log  *slog.Logger

	mu      sync.Mutex // orders writes to history.jsonl, and guards what follows
	damaged []string
	lock    *os.File
	broken  error // the folder cannot be locked: it is only read, and writes return this
}

// in does something with a file of the folder, by its name there. The folder may be another user's, and is opened each
// time: it may have been put back meanwhile.
func (d *disk) in(path string, do func(f *folder.Folder, name string) error) error {
	name, err := filepath.Rel(d.dir, path)
	if err != nil {
		return err
	}
	f, err := folder.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return do(f, name)
}

// replace writes a file whole or not at all: beside its place, synced, renamed, and the folder synced, so that after a
// crash at any point the old or the new content is there.
func (d *disk) replace(path string, data []byte) error {
	if err := d.fault(opCreate, path); err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	return d.in(path, func(f *folder.Folder, name string) error { return d.replaceIn(f, path, name, data) })
}

func (d *disk) replaceIn(in *folder.Folder, path, name string, data []byte) (err error) {
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
	if err := d.write(f, path, data); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("close %s: %w", path, err)
	}
	if err := d.fault(opRename, path); err != nil {
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
func (d *disk) open(path string, flag int, mode fs.FileMode) (file *os.File, err error) {
	err = d.in(path, func(f *folder.Folder, name string) (err error) {
		file, err = f.OpenFile(name, flag, mode)
		return err
	})
	return file, err
}

// remove removes a file of the folder.
func (d *disk) remove(path string) error {
	return d.in(path, func(f *folder.Folder, name string) error { return f.Remove(name) })
}

// rename gives a file of the folder another name.
func (d *disk) rename(from, to string) error {
	return d.in(from, func(f *folder.Folder, name string) error {
		next, err := filepath.Rel(d.dir, to)
		if err != nil {
			return err
		}
		return f.Rename(name, next)
	})
}

func (d *disk) write(f *os.File, path string, data []byte) error {
	if err := d.fault(opWrite, path); err != nil {
		_, _ = f.Write(data[:len(data)/2]) // as a full disk does
		return fmt.Errorf("write %s: %w", path, err)
	}
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := d.fault(opSync, path); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

func (d *disk) fault(op, path string) error {
	if d.opts.Fault == nil {
		return nil
	}
	return d.opts.Fault(op, path)
}

// read returns a file of bounded size; fs.ErrNotExist when there is none.
func (d *disk) read(path string, limit int64) ([]byte, error) {
	if err := d.fault(opRead, path); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	f, err := d.open(path, os.O_RDONLY, 0)
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
func (d *disk) setAside(path string, cause error) {
	if d.refusal() != nil {
		d.log.Error("a file is damaged; what the kernel enforces goes on", "file", path, "damage", cause)
		d.tellDamaged(path)
		return
	}
	aside := d.aside(path)
	if err := d.rename(path, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.Error("a damaged file cannot be moved aside", "file", path, "damage", cause, "error", err)
		return
	}
	d.log.Error("a file is damaged and was moved aside; what the kernel enforces goes on", "file", path, "moved_to",
		aside, "damage", cause)
	d.tellDamaged(aside)
}

func (d *disk) tellDamaged(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Contains(d.damaged, path) {
		d.damaged = append(d.damaged, path)
	}
}

// keepAside keeps damaged lines of a file for a person. The rest of the file counts.
func (d *disk) keepAside(path string, lines []byte) {
	if d.refusal() != nil {
		d.log.Error("lines of a file are damaged; the others count", "file", path)
		d.tellDamaged(path)
		return
	}
	aside := d.aside(path)
	d.log.Error("lines of a file are damaged; the others count", "file", path, "kept_in", aside)
	if err := d.replace(aside, lines); err != nil {
		d.log.Error("the damaged lines cannot be kept", "file", path, "error", err)
		aside = path
	}
	d.tellDamaged(aside)
}

// aside is a free name for what is damaged of a file.
func (d *disk) aside(path string) string {
	base := path + ".corrupt-" + d.now().UTC().Format("20060102T150405Z")
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

// refusal is why nothing can be written; nil when it can.
func (d *disk) refusal() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.broken
}

// mend takes the lock that could not be had.
func (d *disk) mend(lock *os.File) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lock, d.broken = lock, nil
}

func (d *disk) unlock() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}

// found are the files that were damaged.
func (d *disk) found() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.damaged)
}

func (d *disk) now() time.Time {
	if d.opts.Now != nil {
		return d.opts.Now()
	}
	return time.Now()
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
