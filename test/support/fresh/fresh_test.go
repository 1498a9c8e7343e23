// SPDX-License-Identifier: Apache-2.0

package fresh

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestAFindIsFiledAndFailsNothing(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "finds")
	t.Setenv(Folder, folder)
	p, ok := Begin(t)
	if !ok {
		t.Fatal("no fresh part, though the environment asks for one")
	}
	var told []string
	// It is no find of a run.
	p.tell = func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }
	p.Find("a row\nand its frame")
	p.Find("another")
	if t.Failed() {
		t.Error("a find fails the test")
	}
	if len(told) != 2 || !strings.HasPrefix(told[1], "a find: "+folder) || !strings.HasSuffix(told[1], "(another)") {
		t.Errorf("told: %q", told)
	}
	files, err := os.ReadDir(folder)
	if err != nil || len(files) != p.Found() || p.Found() != 2 {
		t.Fatalf("%d finds in %d files, want 2 (%v)", p.Found(), len(files), err)
	}
	text, err := os.ReadFile(filepath.Join(folder, files[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{t.Name(), strconv.FormatUint(p.Seed, 10), "a row\nand its frame"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
}

func TestNobodyAsks(t *testing.T) {
	t.Setenv(Folder, "")
	if _, ok := Begin(t); ok {
		t.Error("a fresh part that nobody asked for")
	}
}
