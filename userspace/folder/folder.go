// SPDX-License-Identifier: Apache-2.0

// Package folder works in a folder that belongs to a user with fewer rights: root's commands write into the state
// folder of an agent that is somebody else. Nothing that the owner put there leads out of the folder (os.Root), only
// ordinary files with one name are opened, and what is made belongs to the folder's owner.
package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNotPlain says that a name is no ordinary file of this folder alone: a link, a pipe, a device, or a file with a
// second name elsewhere.
var ErrNotPlain = errors.New("it is not an ordinary file of this folder alone")

// Folder is an open folder. Names are below it.
type Folder struct {
	root *os.Root
	// uid and gid get what this process makes; give says whether they are another's.
	uid, gid int
	give     bool
}

// Open opens a folder.
func Open(path string) (*Folder, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	info, err := root.Stat(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	f := &Folder{root: root}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		f.uid, f.gid = int(st.Uid), int(st.Gid)
		f.give = os.Geteuid() == 0 && f.uid != 0
	}
	return f, nil
}

// Make opens a folder and makes it, and those above it, where it is missing.
func Make(path string, mode fs.FileMode) (*Folder, error) {
	if err := os.MkdirAll(path, mode); err != nil {
		return nil, err
	}
	return Open(path)
}

// Owner returns the user that a folder belongs to.
func Owner(path string) (uid int, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, fmt.Errorf("look whose %s is: %w", path, err)
	}
	return int(st.Uid), nil
}

// Close releases the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Open opens a file or a folder to read it.
func (f *Folder) Open(name string) (*os.File, error) { return f.OpenFile(name, os.O_RDONLY, 0) }

// OpenFile opens an ordinary file. One that it makes belongs to the folder's owner.
func (f *Folder) OpenFile(name string, flag int, mode fs.FileMode) (*os.File, error) {
	// A pipe must not hold the opener, and nothing is cut off before it is known to be the folder's.
	file, err := f.root.OpenFile(name, flag&^os.O_TRUNC|unix.O_NONBLOCK, mode)
	if err != nil {
		return nil, err
	}
	err = f.keep(file, flag)
	if err == nil && flag&os.O_TRUNC != 0 {
		err = file.Truncate(0)
	}
	if err != nil {
		return nil, errors.Join(&fs.PathError{Op: "open", Path: filepath.Join(f.root.Name(), name), Err: err}, file.Close())
	}
	return file, nil
}

// keep refuses what is not plain, and gives the file to the folder's owner.
func (f *Folder) keep(file *os.File, flag int) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return err
	}
	writes := flag&(os.O_WRONLY|os.O_RDWR|os.O_CREATE) != 0
	switch kind := st.Mode & unix.S_IFMT; {
	case kind == unix.S_IFDIR && !writes:
		return nil
	case kind != unix.S_IFREG, writes && st.Nlink > 1:
		return ErrNotPlain
	}
	if !writes || !f.give || int(st.Uid) == f.uid && int(st.Gid) == f.gid {
		return nil
	}
	return file.Chown(f.uid, f.gid)
}

// CreateTemp makes a file with a new name that begins with prefix, mode 0600, and returns it with that name.
func (f *Folder) CreateTemp(prefix string) (*os.File, string, error) {
	for {
		name := prefix + strconv.FormatUint(rand.Uint64(), 36)
		file, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			return file, name, err
		}
	}
}

// Mkdir makes a folder unless it is there.
func (f *Folder) Mkdir(name string, mode fs.FileMode) error {
	err := f.root.Mkdir(name, mode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil && f.give {
		err = f.root.Lchown(name, f.uid, f.gid)
	}
	return err
}

// Rename gives a file another name in the folder.
func (f *Folder) Rename(from, to string) error { return f.root.Rename(from, to) }

// Remove removes a file or an empty folder.
func (f *Folder) Remove(name string) error { return f.root.Remove(name) }

// Lstat looks at a name.
func (f *Folder) Lstat(name string) (fs.FileInfo, error) { return f.root.Lstat(name) }

// Sync makes what was named in a folder last: "." is the folder itself.
func (f *Folder) Sync(name string) error {
	d, err := f.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
