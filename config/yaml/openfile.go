// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// ReadFile reads a file of bounded size. shown is its name for the faults.
func ReadFile(fsys fs.FS, name, shown string) ([]byte, error) {
	f, err := OpenFile(fsys, name, MaxListBytes)
	if err == nil {
		defer f.Close()
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(f, MaxBytes+1)); err == nil {
			return data, nil
		}
	}
	out := NewCollector()
	out.Add(FileFault(shown, err))
	return nil, out.Err()
}

// errNotRegular and errTooLong are why a file that exists is not read.
var (
	errNotRegular = errors.New("not a regular file")
	ErrTooLong    = errors.New("the file is too long")
)

// OpenFile opens a regular file of at most limit bytes. It looks before it opens, because to open a pipe would wait.
func OpenFile(fsys fs.FS, name string, limit int64) (fs.File, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLong, info.Size(), limit)
	}
	return fsys.Open(name)
}

// FileFault says why a file cannot be read.
func FileFault(shown string, err error) Fault {
	f := Fault{Code: CodeFile, File: shown, Valid: "a readable file", Cause: err}
	var perr *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Problem = "no such file"
	case errors.Is(err, fs.ErrPermission):
		f.Problem = "may not be read by this user"
	case errors.As(err, &perr):
		f.Problem = "cannot be read: " + perr.Err.Error()
	default:
		f.Problem = "cannot be read: " + err.Error()
	}
	return f
}
