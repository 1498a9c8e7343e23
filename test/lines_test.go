// SPDX-License-Identifier: Apache-2.0

package test

import (
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	columns = 120
	// literal is how much of a string stands on one line where a person reads it whole.
	literal = 60
)

// A line of code has at most 120 columns, a tab being one. A string that a person reads whole may take more, and so do
// a tag, which is one word, and a directive.
func TestLinesAreShort(t *testing.T) {
	out, err := exec.Command("git", "-C", "..", "ls-files", "*.go").Output()
	if err != nil {
		t.Fatalf("list the files: %v", err)
	}
	looked := 0
	for name := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n") {
		text, err := os.ReadFile("../" + name)
		if err != nil || strings.Contains(string(text[:min(len(text), 200)]), "DO NOT EDIT") {
			continue
		}
		looked++
		for _, line := range longLines(text) {
			t.Errorf("%s has more than %d columns: %s", name, columns, line)
		}
	}
	if looked < 100 {
		t.Errorf("only %d files were looked at", looked)
	}
}

// longLines are the lines that are too long, and may not be.
func longLines(text []byte) (long []string) {
	strung := stringsOf(text)
	for at, line := range strings.Split(string(text), "\n") {
		if utf8.RuneCountInString(line) > columns && strung[at] < literal && !strings.Contains(line, "`yaml:") &&
			!strings.HasPrefix(line, "//go:") {
			long = append(long, strings.TrimSpace(line))
		}
	}
	return long
}

// stringsOf is how many columns the longest string literal has on each line.
func stringsOf(text []byte) map[int]int {
	var s scanner.Scanner
	file := token.NewFileSet().AddFile("", -1, len(text))
	s.Init(file, text, nil, 0)
	longest := map[int]int{}
	for {
		pos, kind, lit := s.Scan()
		if kind == token.EOF {
			return longest
		}
		if kind != token.STRING {
			continue
		}
		for i, part := range strings.Split(lit, "\n") {
			at := file.Line(pos) - 1 + i
			longest[at] = max(longest[at], utf8.RuneCountInString(part))
		}
	}
}

func TestLongLinesAreFound(t *testing.T) {
	word := strings.Repeat("a", 70)
	for text, want := range map[string]int{
		"package p // " + word + word:                            1,
		"package p\n\nvar " + word + " = f(" + word + ")":        1,
		"package p\n\nvar " + word + " = \"" + word + "\"":       0,
		"package p\n\nvar x = `\n" + word + word + "`":           0,
		"package p\n\nvar " + word + " = f(\"a\", " + word + ")": 1,
		"package p\n": 0,
	} {
		if got := longLines([]byte(text)); len(got) != want {
			t.Errorf("%q: %d long lines, want %d", text, len(got), want)
		}
	}
}
