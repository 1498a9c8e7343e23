// SPDX-License-Identifier: Apache-2.0

package hostfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const sound = `version: 1
interfaces: [{name: eth0}]
services: [{name: web, port: 443, kind: tls}]
`

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCompare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spillway.yaml")
	inForce := Digest([]byte(sound))
	for _, row := range []struct{ name, text, want string }{
		{"missing", "", "is gone"},
		{"the same", sound, ""},
		{"edited", sound + "max_mode: observe\n", "is not in force: it was changed and not reloaded"},
		{"a comment", sound + "# note\n", "is not in force"},
		{"faulty", sound + "max_mode: attack\n", "is refused, so the last good one goes on"},
		{"empty", "\n", "is refused"},
		{"bytes", "\x00\xff", "is refused"},
	} {
		if row.text != "" {
			write(t, path, row.text)
		}
		p := Compare(path, inForce)
		switch {
		case row.want == "" && p != nil:
			t.Errorf("%s: %+v", row.name, p)
		case row.want != "" &&
			(p == nil || !strings.Contains(p.Message, row.want) || p.Fix == "" || p.Code != CodeNotInForce):
			t.Errorf("%s: %+v, want %q", row.name, p, row.want)
		}
	}
	_ = os.Remove(path)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if p := Compare(path, inForce); p == nil || !strings.Contains(p.Message, "cannot be read") {
		t.Errorf("a folder: %+v", p)
	}
}

// The file is read when it may have changed, and not at every look.
func TestWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spillway.yaml")
	write(t, path, sound)
	w, inForce := &Watch{}, Digest([]byte(sound))
	look := func(what string, differs bool) {
		t.Helper()
		if p := w.Look(path, inForce); (p != nil) != differs {
			t.Errorf("%s: %+v, want a difference: %v", what, p, differs)
		}
	}
	look("at first", false)
	look("at once again", false)
	if w.reads != 2 {
		t.Errorf("%d reads of a file that was just written: its stamp does not name its content", w.reads)
	}
	time.Sleep(settled + 200*time.Millisecond)
	for range 100 {
		look("later", false)
	}
	if w.reads != 3 {
		t.Errorf("%d reads, want 3", w.reads)
	}
	// Of the same size, and with the old times put back.
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, strings.Replace(sound, "443", "444", 1))
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	look("edited under the same times", true)
	inForce = Digest([]byte(strings.Replace(sound, "443", "444", 1)))
	look("reloaded", false)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	look("removed", true)
}
