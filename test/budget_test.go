// SPDX-License-Identifier: Apache-2.0

package test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// budgetSeconds is what `make test` may take as a whole, on two idle cores.
const budgetSeconds = 25 * 60

// Every package that has tests has its share of the time of `make test`, and the shares fit into the whole. What a run
// takes on some machine is for .ci/tell to say: a test that fails by the clock would prove nothing but load.
func TestEveryPackageHasABudget(t *testing.T) {
	text, err := os.ReadFile("../.ci/budget")
	if err != nil {
		t.Fatal(err)
	}
	shares, sums := map[string]int{}, map[string]int{"live": 0, "beside": 0, "guests": 0}
	for line := range strings.Lines(string(text)) {
		if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) == "" {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 3 {
			t.Fatalf(".ci/budget: %q is no package, seconds and stream", line)
		}
		seconds, err := strconv.Atoi(fields[1])
		if err != nil || seconds <= 0 {
			t.Fatalf(".ci/budget: %q: %q is no number of seconds", line, fields[1])
		}
		shares[fields[0]] = seconds
		if _, known := sums[fields[2]]; !known {
			t.Errorf(".ci/budget: %q: the Makefile runs no stream %q", line, fields[2])
		}
		sums[fields[2]] += seconds
	}
	for stream, sum := range sums {
		if sum > budgetSeconds {
			t.Errorf("the shares of %s sum up to %d s, and make test may take %d", stream, sum, budgetSeconds)
		}
	}
	list := exec.Command("go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}", "./...")
	list.Dir = ".."
	packages, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.Fields(string(packages)) {
		p = strings.TrimPrefix(p, "github.com/spillway/spillway/")
		if shares[p] == 0 {
			t.Errorf("%s has tests and no share in .ci/budget", p)
		}
		delete(shares, p)
	}
	for p := range shares {
		t.Errorf("%s has a share in .ci/budget and no tests", p)
	}
}
