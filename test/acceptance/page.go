// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

const pageHead = `# Acceptance

Written by ` + "`make acceptance`" + ` (` + "`go run ./test/acceptance`" + `) from test/acceptance/rows*.go and results.json; do not edit.
Each row is a class of outage that took somebody down, what stands against it here, the tests that show that, and what the last run
of them said. A guard is only a guard if a test goes red without it: below the table stand the faults that were planted, one guard
switched off at a time, and the tests that found each.

*open* says what is missing. *Nearest* rows cannot be shown on one host; their tests are the nearest thing that can. More on how
each is tested is in [PROOF.md](PROOF.md), and how a change is rolled out in [ROLLOUT.md](ROLLOUT.md).

`

// page writes docs/ACCEPTANCE.md.
func page(rows []row, seen results) string {
	var b strings.Builder
	b.WriteString(pageHead)
	fmt.Fprintf(&b, "Last run: %s, Linux %s. %s\n\n", seen.Date, seen.Kernel, summary(rows, seen))
	b.WriteString("| | outage class | guard | tests | result |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.id, r.class, r.guard, r.named(), r.result(seen))
	}
	b.WriteString("\n## With the guard switched off\n\n| | fault | where | found by |\n| --- | --- | --- | --- |\n")
	for _, r := range rows {
		for i, f := range r.faults {
			found := "not run yet"
			if names, ok := seen.Faults[r.name(i)]; ok {
				found = "**nothing**"
				if len(names) > 0 {
					found = "`" + strings.Join(names, "`, `") + "`"
				}
			}
			fmt.Fprintf(&b, "| %s | %s | `%s` | %s |\n", r.id, f.what, f.file, found)
		}
	}
	return b.String()
}

// named lists the row's tests by their packages.
func (r row) named() string {
	var parts []string
	for _, t := range r.tests {
		parts = append(parts, t.of+": `"+strings.Join(t.names, "`, `")+"`")
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, "; ")
}

// tally counts what became of the row's tests and faults.
func (r row) tally(seen results) (passed, red, missing, found, planted int) {
	for _, t := range r.tests {
		for _, n := range t.names {
			switch seen.Tests[t.of+" "+n] {
			case "pass":
				passed++
			case "fail":
				red++
			default:
				missing++
			}
		}
	}
	for i := range r.faults {
		if names, ok := seen.Faults[r.name(i)]; ok {
			planted++
			found += min(1, len(names))
		}
	}
	return passed, red, missing, found, planted
}

// result says in a few words how a row stands.
func (r row) result(seen results) string {
	passed, red, missing, found, planted := r.tally(seen)
	var parts []string
	if r.fleet {
		parts = append(parts, "nearest")
	}
	if passed > 0 {
		parts = append(parts, fmt.Sprintf("%d passed", passed))
	}
	if red > 0 {
		parts = append(parts, fmt.Sprintf("**%d failed**", red))
	}
	if missing > 0 {
		parts = append(parts, fmt.Sprintf("%d not run", missing))
	}
	switch {
	case len(r.faults) == 0:
		parts = append(parts, "no fault planted")
	case planted < len(r.faults):
		parts = append(parts, fmt.Sprintf("%d of %d faults found, %d not planted yet", found, len(r.faults),
			len(r.faults)-planted))
	default:
		parts = append(parts, fmt.Sprintf("%d of %d faults found", found, len(r.faults)))
	}
	if r.open != "" {
		parts = append(parts, "*open*: "+r.open)
	}
	return strings.Join(parts, "; ")
}

// summary counts the rows.
func summary(rows []row, seen results) string {
	whole, open, nearest, waiting, planted, faults := 0, 0, 0, 0, 0, 0
	for _, r := range rows {
		_, red, missing, found, _ := r.tally(seen)
		planted, faults = planted+found, faults+len(r.faults)
		switch {
		case r.fleet:
			nearest++
		case r.open != "":
			open++
		case red == 0 && missing == 0 && found == len(r.faults):
			whole++
		default:
			waiting++
		}
	}
	return fmt.Sprintf("%d of %d rows are whole: their tests pass, and go red when the guard is switched off. In %d something is "+
		"missing, %d are nearest, and %d wait for a run. %d of %d faults were found.", whole, len(rows), open, nearest, waiting,
		planted, faults)
}
