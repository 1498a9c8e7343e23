// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Folder returns where the captures with expected fingerprints lie: SPILLWAY_PCAPS, or a folder beside the repository.
// Without them the test is left out, and in CI it fails.
func Folder(t testing.TB) string {
	t.Helper()
	folder := os.Getenv("SPILLWAY_PCAPS")
	if folder == "" {
		folder = filepath.Join(moduleRoot(t), "..", "shared", "pcaps")
	}
	if _, err := os.Stat(filepath.Join(folder, "expected", "ja4-spec.tsv")); err != nil {
		missing := fmt.Sprintf("captures with expected fingerprints (SPILLWAY_PCAPS): %v", err)
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip("left out: " + missing)
	}
	return folder
}

// moduleRoot returns the folder of go.mod, at or above the one that the test runs in.
func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	t.Fatalf("no go.mod above the test: %v", err)
	return ""
}

// Table reads a table of expected values: its rows without comments, each split into fields.
func Table(t testing.TB, folder, name string) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "expected", name))
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" && !strings.HasPrefix(line, "#") {
			rows = append(rows, strings.Split(line, "\t"))
		}
	}
	if len(rows) == 0 {
		t.Fatalf("%s has no rows", name)
	}
	return rows
}
