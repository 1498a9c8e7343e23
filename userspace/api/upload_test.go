// SPDX-License-Identifier: Apache-2.0

package api

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBundleTravelsWhole(t *testing.T) {
	b := &backend{}
	c, _, _ := serve(t, b)
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	big := strings.Repeat("198.51.100.0/24\n", 100_000)
	yaml := "version: 1\nname: x\nfeatures:\n  prefixes:\n" +
		"    - {list: a, rule: r, file: lists/a.netset}\n" +
		"    - {list: b, rule: r, file: lists/a.netset}\n" +
		"    - {list: c, rule: r, file: missing}\n    - {list: d, rule: r, file: ../outside}\n" +
		"    - {list: e, rule: r, file: link}\n    - {list: f, rule: r, entries: [192.0.2.1]}\n"
	write("bundle.yaml", yaml)
	write("lists/a.netset", big)
	write("lists/unused.netset", "1")
	if err := os.Symlink("/etc/hostname", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	u, err := Pack(dir)
	if err != nil {
		t.Fatal(err)
	}
	if u.Name != filepath.Join(dir, "bundle.yaml") {
		t.Errorf("name %q", u.Name)
	}
	o := ApplyOptions{Confirm: 5 * time.Minute, Accept: "new feed & co", Reason: "ticket 7"}
	if _, err := c.Apply(context.Background(), u, o); err != nil {
		t.Fatal(err)
	}
	want := Files{"bundle.yaml": []byte(yaml), "lists/a.netset": []byte(big)}
	if diff := cmp.Diff(want, b.files); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if diff := cmp.Diff(o.Request(u.Name), b.options); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if p, err := c.Plan(context.Background(), u, ""); err != nil || p.Name != u.Name {
		t.Errorf("plan: %+v, %v", p, err)
	}
	for name, want := range map[string]error{"none": fs.ErrNotExist, "../bundle.yaml": fs.ErrInvalid,
		"lists": fs.ErrNotExist} {
		if _, err := b.files.Open(name); !errors.Is(err, want) {
			t.Errorf("open %s: %v, want %v", name, err, want)
		}
	}
	if info, err := fs.Stat(b.files, "lists/a.netset"); err != nil || info.Size() != int64(len(big)) ||
		!info.Mode().IsRegular() || info.Name() != "a.netset" {
		t.Errorf("stat: %+v, %v", info, err)
	}
	if _, err := Pack(filepath.Join(dir, "nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no bundle: %v", err)
	}
}

func TestUploadRefusesWhatIsNoBundle(t *testing.T) {
	archive := func(headers ...tar.Header) io.Reader {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		for _, h := range headers {
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(make([]byte, h.Size)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return &buf
	}
	file := func(name string, size int64) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600}
	}
	bundle := file("bundle.yaml", 10)
	for _, row := range []struct {
		name string
		r    io.Reader
		want string
	}{
		{"nothing", archive(), "no bundle.yaml"},
		{"no bundle", archive(file("a", 1)), "no bundle.yaml"},
		{"outside", archive(bundle, file("../a", 1)), "no file inside"},
		{"absolute", archive(bundle, file("/a", 1)), "no file inside"},
		{"twice", archive(bundle, bundle), "twice"},
		{"link", archive(bundle, tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "/etc/passwd"}),
			"no file inside"},
		{"device", archive(bundle, tar.Header{Typeflag: tar.TypeChar, Name: "a"}), "no file inside"},
		{"large", archive(bundle, file("a", 1000)), "too large"},
		{"cut off", io.LimitReader(archive(bundle, file("a", 600)), 1600), "unexpected EOF"},
	} {
		if _, err := readUpload(row.r, 1000, noLimit); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	files, err := readUpload(archive(tar.Header{Typeflag: tar.TypeDir, Name: "lists/"}, file("./bundle.yaml", 3),
		file("lists/a", 997)), 1000, noLimit)
	if err != nil || len(files) != 2 || len(files["lists/a"]) != 997 {
		t.Errorf("as tar -c makes it: %v, %d files", err, len(files))
	}
}

func noLimit(int64) error { return nil }
