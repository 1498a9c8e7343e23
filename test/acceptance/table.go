// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// row is one class of outage.
type row struct {
	id     string // A01
	class  string // what went wrong elsewhere
	guard  string // what stands against it here
	tests  []tests
	faults []fault
	open   string // what is missing; "" where the row is whole
	fleet  bool   // one host cannot show it: tests are the nearest
}

// tests are the tests of a package that prove a row.
type tests struct {
	of    string   // the package, below the module
	names []string // whole names
}

func in(of string, names string) tests { return tests{of, strings.Fields(names)} }

// pattern is what -run takes for them.
func (t tests) pattern() string { return "^(" + strings.Join(t.names, "|") + ")$" }

// fault switches a guard off: a piece of a file that stands there once becomes another.
type fault struct {
	what     string
	file     string
	old, new string
	of       string // the package whose tests must find it
	finds    string // which of them, as for -run
}

func (f fault) isC() bool {
	return strings.HasPrefix(f.file, "bpf/") && !strings.HasSuffix(f.file, ".go")
}

// name is the fault's in the results: the row and its number there.
func (r row) name(i int) string { return fmt.Sprintf("%s/%d", r.id, i+1) }

// all is the table.
func all() []row { return slices.Concat(dataRows, changeRows, hostRows, agentRows) }

// inTree is the table with the tests of the tree that say of which row they are, by their names: TestA16….
func inTree(root string) ([]row, error) {
	rows := all()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		of, err := filepath.Rel(root, filepath.Dir(path))
		for _, m := range numbered.FindAllStringSubmatch(string(text), -1) {
			for i := range rows {
				if rows[i].id == m[2] {
					rows[i].add(filepath.ToSlash(of), m[1])
				}
			}
		}
		return err
	})
	return rows, err
}

// numbered is a test that says of which row it is.
var numbered = regexp.MustCompile(`(?m)^func (Test(A[0-4][0-9])[A-Z]\w*)\(`)

// add adds a test of a package.
func (r *row) add(of, name string) {
	i := slices.IndexFunc(r.tests, func(t tests) bool { return t.of == of })
	switch {
	case i < 0:
		r.tests = append(slices.Clone(r.tests), tests{of, []string{name}})
	case !slices.Contains(r.tests[i].names, name):
		r.tests = slices.Clone(r.tests)
		r.tests[i].names = append(slices.Clone(r.tests[i].names), name)
	}
}

// named returns the rows of ids; all where there are none.
func named(rows []row, ids []string) []row {
	return slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return len(ids) > 0 && !slices.Contains(ids, r.id) })
}

// packages returns every package of the rows with the tests to run there, sorted.
func packages(rows []row) []tests {
	var out []tests
	for _, r := range rows {
		for _, t := range r.tests {
			i := slices.IndexFunc(out, func(o tests) bool { return o.of == t.of })
			if i < 0 {
				out = append(out, tests{of: t.of})
				i = len(out) - 1
			}
			for _, n := range t.names {
				if !slices.Contains(out[i].names, n) {
					out[i].names = append(out[i].names, n)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b tests) int { return strings.Compare(a.of, b.of) })
	for _, t := range out {
		slices.Sort(t.names)
	}
	return out
}
