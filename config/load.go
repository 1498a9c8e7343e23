// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"

	"github.com/goccy/go-yaml/ast"
)

// LoadHost reads the host file. Its error is a *Faults.
func LoadHost(path string) (*Host, error) {
	data, err := ReadHost(path)
	if err != nil {
		return nil, err
	}
	return ParseHost(path, data)
}

// ReadHost reads the bytes of a host file for ParseHost: of a regular file, and not more than one may have, so that
// neither a pipe nor a file without end keeps whoever asks. Its error is a *Faults.
func ReadHost(path string) ([]byte, error) {
	return readYAML(os.DirFS(filepath.Dir(path)), filepath.Base(path), path)
}

// ParseHost reads a host file from memory; name is for the faults. Its error is a *Faults.
func ParseHost(name string, data []byte) (*Host, error) {
	out := newCollector()
	d := newDecoder(newSource(name, data), out)
	n := document(d.src, out)
	if n == nil {
		return nil, out.err()
	}
	host := DefaultHost()
	if d.versioned(n) {
		d.value(n, reflect.ValueOf(host).Elem(), "", &limits{})
		d.checkHost(host)
	}
	if err := out.err(); err != nil {
		return nil, err
	}
	return host, nil
}

// versioned refuses a file of another version with that one fault: all others would only mislead.
func (d *decoder) versioned(n ast.Node) bool {
	m, ok := n.(ast.MapNode)
	if !ok {
		return true
	}
	for it := m.MapRange(); it.Next(); {
		if it.Key().GetToken().Value != "version" {
			continue
		}
		text, kind, _ := scalarText(it.Value())
		if v, err := strconv.Atoi(text); kind == kindInteger && err == nil && v != Version {
			d.fault(CodeVersion, place(it.Value()), "version", text, "this release does not read version "+text,
				strconv.Itoa(Version))
			return false
		}
		return true
	}
	return true
}

// readYAML reads a file of bounded size. shown is its name for the faults.
func readYAML(fsys fs.FS, name, shown string) ([]byte, error) {
	f, err := openFile(fsys, name, maxListBytes)
	if err == nil {
		defer f.Close()
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(f, maxYAMLBytes+1)); err == nil {
			return data, nil
		}
	}
	out := newCollector()
	out.add(fileFault(shown, err))
	return nil, out.err()
}

// errNotRegular and errTooLong are why a file that exists is not read.
var (
	errNotRegular = errors.New("not a regular file")
	errTooLong    = errors.New("the file is too long")
)

// openFile opens a regular file of at most limit bytes. It looks before it opens, because to open a pipe would wait.
func openFile(fsys fs.FS, name string, limit int64) (fs.File, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", errTooLong, info.Size(), limit)
	}
	return fsys.Open(name)
}

func fileFault(shown string, err error) Fault {
	f := Fault{Code: CodeFile, File: shown, Valid: "a readable file", cause: err}
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
