// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// The table has a row for each class, and each row says what it is.
func TestTableIsWhole(t *testing.T) {
	rows := all()
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.id, b.id) })
	if len(rows) != 48 {
		t.Errorf("%d rows, want 48", len(rows))
	}
	for i, r := range rows {
		if want := fmt.Sprintf("A%02d", i+1); r.id != want {
			t.Fatalf("row %d is %s, want %s", i, r.id, want)
		}
		if r.class == "" || r.guard == "" || strings.ContainsAny(r.class+r.guard+r.open, "|\n") {
			t.Errorf("%s says %q, %q, %q", r.id, r.class, r.guard, r.open)
		}
		if len(r.tests) == 0 && r.open == "" || len(r.faults) == 0 && r.open == "" && !r.fleet {
			t.Errorf("%s has no test, or no fault, and does not say that it is open", r.id)
		}
	}
}

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// testsOf returns the tests that a package has.
func testsOf(t *testing.T, of string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, of, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Errorf("%s has no tests (%v)", of, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range testFunc.FindAllStringSubmatch(string(text), -1) {
			names = append(names, m[1])
		}
	}
	return names
}

// table is the whole table.
func table(t *testing.T) []row {
	t.Helper()
	rows, err := inTree(root)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// A test that says of which row it is stands there by itself.
func TestTestsOfTheTreeAreInTheirRows(t *testing.T) {
	rows := named(table(t), []string{"A16"})
	i := slices.IndexFunc(rows[0].tests, func(t tests) bool { return t.of == "test/dataplane/progrun" })
	if i < 0 || !slices.Contains(rows[0].tests[i].names, "TestA16KillSwitchInEveryState") {
		t.Errorf("A16 has %v", rows[0].tests)
	}
}

// A row whose tests were renamed proves nothing.
func TestRowsNameTestsThatExist(t *testing.T) {
	rows := table(t)
	for _, p := range packages(rows) {
		there := testsOf(t, p.of)
		for _, n := range p.names {
			if !slices.Contains(there, n) {
				t.Errorf("%s has no %s", p.of, n)
			}
		}
	}
	for _, r := range rows {
		for _, f := range r.faults {
			finds := regexp.MustCompile(f.finds)
			if !slices.ContainsFunc(testsOf(t, f.of), finds.MatchString) {
				t.Errorf("%s: %q: no test of %s is %s", r.id, f.what, f.of, f.finds)
			}
		}
	}
}

// Each fault can still be planted.
func TestFaultsFitTheCode(t *testing.T) {
	for _, r := range all() {
		for _, f := range r.faults {
			if err := f.fits(root); err != nil {
				t.Errorf("%s: %v", r.id, err)
			}
			if f.old == f.new {
				t.Errorf("%s: %q changes nothing", r.id, f.what)
			}
		}
	}
}

// The page says what the table and the last run say.
func TestPageIsCurrent(t *testing.T) {
	seen, err := readResults(filepath.Join(root, resultsFile))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, pageFile))
	if err != nil {
		t.Fatal(err)
	}
	if want := page(table(t), seen); string(got) != want {
		t.Errorf("%s is not what `go run ./test/acceptance` writes", pageFile)
	}
}

// A sample of the faults: cheap ones, of Go and of C. `make acceptance` plants all.
func TestSampleOfFaultsIsFound(t *testing.T) {
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range sample {
		i := slices.IndexFunc(all(), func(r row) bool { return r.id == id })
		f := all()[i].faults[0]
		found, err := f.plant(t.Context(), here)
		if err != nil {
			t.Error(err)
		}
		t.Logf("%s %s: found by %v", id, f.what, found)
	}
}

// What a run said is taken for the package that it was said of, and for the rows' tests alone.
func TestResultsAreRead(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	text := "=== RUN   TestOne\n--- PASS: TestOne (0.1s)\n    --- FAIL: TestOne/inner (0.1s)\n--- PASS: TestOther (0s)\n" +
		"ok  \tgithub.com/spillway/spillway/userspace/retry\t0.1s\n" +
		"--- FAIL: TestOne (0.1s)\n--- SKIP: TestTwo (0.1s)\nFAIL\nFAIL\tgithub.com/spillway/spillway/config\t0.1s\n"
	if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := results{Tests: map[string]string{}}
	rows := []row{{tests: []tests{in("userspace/retry", "TestOne"), in("config", "TestOne TestTwo TestThree")}}}
	if err := r.read(log, rows); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"userspace/retry TestOne": "pass", "config TestOne": "fail", "config TestTwo": "skip"}
	if !maps.Equal(r.Tests, want) {
		t.Errorf("read %v, want %v", r.Tests, want)
	}
}
