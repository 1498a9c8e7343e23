// SPDX-License-Identifier: Apache-2.0

package api

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"os"
	"path/filepath"
	"slices"

	goyaml "github.com/goccy/go-yaml"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/yaml"
)

// MaxUpload is the largest bundle, in bytes over all its files.
const MaxUpload = 256 << 20

// Upload is a bundle on its way to the agent: its YAML file and the list files that it names.
type Upload struct {
	// Name is how faults call the bundle: the path that the caller typed.
	Name  string
	dir   string
	yaml  []byte
	lists []string
}

// Pack finds the files of a bundle; path is its YAML file, or a folder with a bundle.yaml. It does not validate: what
// it cannot read it leaves out, and the agent refuses the bundle with the reason.
func Pack(path string) (*Upload, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, config.BundleFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read bundle %s: not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxUpload+1))
	if err != nil {
		return nil, fmt.Errorf("read bundle %s: %w", path, err)
	}
	u := &Upload{Name: Visible(path), dir: filepath.Dir(path), yaml: data}
	var named struct {
		Features struct {
			Prefixes []struct {
				File string `yaml:"file"`
			} `yaml:"prefixes"`
		} `yaml:"features"`
	}
	if goyaml.Unmarshal(data, &named) == nil {
		for _, p := range named.Features.Prefixes {
			if p.File != "" && filepath.IsLocal(p.File) && !slices.Contains(u.lists, p.File) {
				u.lists = append(u.lists, p.File)
			}
		}
	}
	return u, nil
}

// WriteTo streams the bundle as a tar archive. It implements io.WriterTo.
func (u *Upload) WriteTo(w io.Writer) (int64, error) {
	count := &countWriter{w: w}
	tw := tar.NewWriter(count)
	if err := writeFile(tw, config.BundleFile, int64(len(u.yaml)), bytes.NewReader(u.yaml)); err != nil {
		return count.n, err
	}
	root, err := os.OpenRoot(u.dir)
	if err != nil {
		return count.n, fmt.Errorf("open folder of bundle: %w", err)
	}
	defer root.Close()
	for _, name := range u.lists {
		if err := packList(tw, root, name); err != nil {
			return count.n, err
		}
	}
	if err := tw.Close(); err != nil {
		return count.n, fmt.Errorf("send bundle: %w", err)
	}
	return count.n, nil
}

// send streams options and bundle as the parts of a request.
func (u *Upload) send(w *multipart.Writer, options any) error {
	part, err := w.CreateFormField(partOptions)
	if err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	if err := json.NewEncoder(part).Encode(options); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	if part, err = w.CreateFormFile(partBundle, "bundle.tar"); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	if _, err := u.WriteTo(part); err != nil {
		return err
	}
	return w.Close()
}

// packList sends one list file; one that is not there, or no regular file in the folder, is left out.
func packList(tw *tar.Writer, root *os.Root, name string) error {
	info, err := root.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	f, err := root.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	return writeFile(tw, filepath.ToSlash(filepath.Clean(name)), info.Size(), f)
}

func writeFile(tw *tar.Writer, name string, size int64, r io.Reader) error {
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600}); err != nil {
		return fmt.Errorf("send %s: %w", name, err)
	}
	if _, err := io.CopyN(tw, r, size); err != nil {
		return fmt.Errorf("send %s: %w", name, err)
	}
	return nil
}

type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// errUploadTooLarge says that a bundle exceeds MaxUpload.
var errUploadTooLarge = errors.New("the bundle is too large")

// Files are the files of a received bundle by name: a file system in memory.
type Files map[string][]byte

// readAll reads size bytes. It takes memory in two steps, the second when a sixteenth has come.
func readAll(r io.Reader, size int64) ([]byte, error) {
	first := make([]byte, min(size, max(size/16, 1<<20)))
	n, err := io.ReadFull(r, first)
	if err != nil || int64(n) == size {
		return first[:n], err
	}
	all := make([]byte, size)
	copy(all, first)
	_, err = io.ReadFull(r, all[n:])
	return all, err
}

// maxUploadFiles bounds the number of list files; a bundle has a handful.
const maxUploadFiles = 4096

// readUpload reads the stream that Upload wrote. reserve is asked for each file before it is read.
func readUpload(r io.Reader, limit int64, reserve func(int64) error) (Files, error) {
	files := Files{}
	tr := tar.NewReader(io.LimitReader(r, limit+maxUploadFiles*1024))
	for left := limit; ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read bundle: %w", err)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		name := filepath.ToSlash(filepath.Clean(h.Name))
		if h.Typeflag != tar.TypeReg || !fs.ValidPath(name) {
			return nil, fmt.Errorf("read bundle: %q is no file inside of the bundle", h.Name)
		}
		if _, twice := files[name]; twice {
			return nil, fmt.Errorf("read bundle: %q is in it twice", name)
		}
		if name == config.BundleFile && h.Size > yaml.MaxBytes {
			return nil, &Error{Code: CodeTooLarge,
				Message: fmt.Sprintf("%s has %d bytes; at most %d MiB", config.BundleFile, h.Size, yaml.MaxBytes>>20),
				Fix:     "put long lists into files of their own (file: lists/name.netset)"}
		}
		if left -= h.Size; left < 0 || len(files) >= maxUploadFiles {
			return nil, errUploadTooLarge
		}
		if err := reserve(h.Size); err != nil {
			return nil, err
		}
		// Memory follows what arrives, not what a header promises: a sender that promises much and hangs takes little.
		var data []byte
		if data, err = readAll(tr, h.Size); err != nil {
			return nil, fmt.Errorf("read %s of bundle: %w", name, err)
		}
		files[name] = data
	}
	if _, ok := files[config.BundleFile]; !ok {
		return nil, fmt.Errorf("read bundle: there is no %s in it", config.BundleFile)
	}
	return files, nil
}
