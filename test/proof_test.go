// SPDX-License-Identifier: Apache-2.0

package test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	codeSpan   = regexp.MustCompile("`([^`]+)`")
	testNamed  = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	makeTarget = regexp.MustCompile(`(?m)^([a-z-]+):`)
)

// Every command of docs/PROOF.md runs something: a page whose tests were renamed proves nothing.
func TestProofNamesTestsThatExist(t *testing.T) {
	page, err := os.ReadFile("../docs/PROOF.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for _, span := range codeSpan.FindAllStringSubmatch(string(page), -1) {
		words := strings.Fields(strings.ReplaceAll(span[1], `\|`, "|")) // escaped inside of a table
		for len(words) > 0 && strings.Contains(words[0], "=") {
			words = words[1:]
		}
		if len(words) < 2 {
			continue
		}
		switch words[0] + " " + words[1] {
		case "go test":
			commands++
			for _, fault := range idle(t, words[2:]) {
				t.Errorf("`%s`: %s", span[1], fault)
			}
		default:
			if words[0] == "make" {
				commands++
				if !slices.Contains(targets(t), words[1]) {
					t.Errorf("`%s`: the Makefile has no such target", span[1])
				}
			}
		}
	}
	if commands < 20 {
		t.Errorf("%d commands found: the page is not read rightly", commands)
	}
}

// idle returns which parts of a command's pattern match no test.
func idle(t *testing.T, words []string) (faults []string) {
	t.Helper()
	var names []string
	pattern := "."
	for i, w := range words {
		switch {
		case strings.HasPrefix(w, "./"):
			here := testsOf(t, w)
			if len(here) == 0 {
				faults = append(faults, w+" has no tests")
			}
			names = append(names, here...)
		case w == "-run" && i+1 < len(words):
			pattern = strings.Trim(words[i+1], "'")
		}
	}
	for _, part := range strings.Split(pattern, "|") {
		name, _, _ := strings.Cut(part, "/")
		if re := regexp.MustCompile(name); !slices.ContainsFunc(names, re.MatchString) {
			faults = append(faults, name+" matches no test")
		}
	}
	return faults
}

// testsOf returns the tests of a package, or of all below it.
func testsOf(t *testing.T, pkg string) (names []string) {
	t.Helper()
	folder, below := strings.CutSuffix(pkg, "/...")
	globs := []string{filepath.Join("..", folder, "*_test.go")}
	if below {
		globs = append(globs, filepath.Join("..", folder, "*", "*_test.go"))
	}
	for _, glob := range globs {
		files, err := filepath.Glob(glob)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range testNamed.FindAllStringSubmatch(string(source), -1) {
				names = append(names, m[1])
			}
		}
	}
	return names
}

// targets returns what make knows.
func targets(t *testing.T) (names []string) {
	t.Helper()
	for _, file := range []string{"../Makefile", "../test/bench/bench.mk", "../test/system/kernels/kernels.mk"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range makeTarget.FindAllStringSubmatch(string(text), -1) {
			names = append(names, m[1])
		}
	}
	return names
}
