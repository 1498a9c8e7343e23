// SPDX-License-Identifier: Apache-2.0

package api

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"testing"
)

// An upload of any bytes is refused, or gives files that lie inside of it, have a bundle among them and fit the limit.
func FuzzUpload(f *testing.F) {
	const limit = 1 << 16
	archive := func(headers ...tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			_ = w.WriteHeader(&h)
			_, _ = w.Write(make([]byte, h.Size))
		}
		_ = w.Close()
		return b.Bytes()
	}
	file := tar.Header{Name: "bundle.yaml", Typeflag: tar.TypeReg, Size: 7, Mode: 0o600}
	list, link := file, file
	list.Name, list.Size = "lists/a.netset", 700
	link.Name, link.Typeflag, link.Size, link.Linkname = "lists/b.netset", tar.TypeSymlink, 0, "/etc/passwd"
	whole := archive(file, list)
	for _, seed := range [][]byte{nil, whole, whole[:700], archive(list), archive(file, file), archive(file, link)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		promised := int64(0)
		files, err := readUpload(bytes.NewReader(data), limit, func(n int64) error { promised += n; return nil })
		if promised > limit {
			t.Fatalf("%d bytes were asked for, the limit is %d", promised, limit)
		}
		if err != nil {
			return
		}
		if _, err := fs.Stat(files, "bundle.yaml"); err != nil {
			t.Fatal(err)
		}
		sum := 0
		for name, content := range files {
			if sum += len(content); !fs.ValidPath(name) {
				t.Fatalf("a file outside of the bundle: %q", name)
			}
		}
		if sum > limit {
			t.Fatalf("%d bytes came in, the limit is %d", sum, limit)
		}
	})
}
