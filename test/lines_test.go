// SPDX-License-Identifier: Apache-2.0

package test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"
)

// longLines are how many lines of more than 120 columns are left where they have been mended: literals that a person reads
// whole, and functions on one line. Tags are one word, and do not count. The number never rises.
const longLines = 50

func TestLinesAreShort(t *testing.T) {
	out, err := exec.Command("git", "-C", "..", "ls-files", "cmd/*.go", "config/*.go", "loader/*.go").Output()
	if err != nil {
		t.Fatalf("list the files: %v", err)
	}
	var long []string
	for name := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n") {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile("../" + name)
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			if utf8.RuneCountInString(line) > 120 && !strings.Contains(line, "`yaml:") {
				long = append(long, name+": "+strings.TrimSpace(line))
			}
		}
	}
	switch {
	case len(long) > longLines:
		t.Errorf("%d lines have more than 120 columns, at most %d may:\n%s", len(long), longLines, strings.Join(long, "\n"))
	case len(long) < longLines:
		t.Errorf("%d lines have more than 120 columns: lower the bound, which is %d", len(long), longLines)
	}
}
