// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// instructionSuite prints one line for each program: countMark, name, instructions that the verifier looked at, bytes
// of machine code.
const (
	instructionSuite = "test/system/kernels/instructions"
	countMark        = "instructions: "
	instructionsFile = "bpf/instructions.txt"
)

const instructionsHead = `# What the verifier makes of each program: instructions that it looked at (its limit is 1,000,000) and bytes of machine
# code on x86-64. Both depend on the kernel, so they are compared on the kernels named here only.
# Written by: go test ./test/system/kernels -update
`

// count is one line of the file.
type count struct {
	series, release, program string
	verified, jited          int
}

func (c count) String() string {
	return fmt.Sprintf("%-5s %-28s %-20s %8d %7d", c.series, c.release, c.program, c.verified, c.jited)
}

// countLines picks the lines of the suite's log that tell of programs.
func countLines(log []string) []string {
	var lines []string
	for _, line := range log {
		if _, text, ok := strings.Cut(line, countMark); ok {
			lines = append(lines, strings.TrimSpace(text))
		}
	}
	return lines
}

func parseCounts(series, release string, log []string) ([]count, error) {
	var all []count
	for _, line := range countLines(log) {
		c := count{series: series, release: release}
		if _, err := fmt.Sscan(line, &c.program, &c.verified, &c.jited); err != nil {
			return nil, fmt.Errorf("read %q: %w", line, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("the suite told of no program")
	}
	return all, nil
}

// readInstructions reads the committed file.
func readInstructions(path string) ([]count, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []count
	for line := range strings.Lines(string(content)) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		var c count
		if _, err := fmt.Sscan(line, &c.series, &c.release, &c.program, &c.verified, &c.jited); err != nil {
			return nil, fmt.Errorf("read %s: %q: %w", path, line, err)
		}
		all = append(all, c)
	}
	return all, nil
}

// writeInstructions replaces the lines of one series.
func writeInstructions(path, series string, counts []count) error {
	old, err := readInstructions(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	all := append(slices.DeleteFunc(old, func(c count) bool { return c.series == series }), counts...)
	slices.SortStableFunc(all, func(a, b count) int { return strings.Compare(a.series+a.program, b.series+b.program) })
	b := bytes.NewBufferString(instructionsHead)
	for _, c := range all {
		fmt.Fprintln(b, c)
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// releaseOf returns the kernel that the counts of a series are of; "" when there are none.
func releaseOf(all []count, series string) string {
	for _, c := range all {
		if c.series == series {
			return c.release
		}
	}
	return ""
}

// compareCounts returns how the counts of one kernel differ from those that are written down for it. The verifier's
// work does not depend on the machine, so nothing may differ. Bytes of machine code depend on the processor and are
// only told.
func compareCounts(want, got []count) (faults []string) {
	find := func(in []count, c count) int {
		return slices.IndexFunc(in, func(o count) bool { return o.series == c.series && o.program == c.program })
	}
	for _, g := range got {
		i := find(want, g)
		switch {
		case i < 0:
			faults = append(faults, fmt.Sprintf("%s on %s: not in %s", g.program, g.series, instructionsFile))
		case g.verified != want[i].verified:
			faults = append(faults, fmt.Sprintf("%s on %s: %d verified instructions, were %d (%+.1f %%)", g.program, g.release,
				g.verified, want[i].verified, 100*float64(g.verified-want[i].verified)/float64(want[i].verified)))
		}
	}
	for _, w := range want {
		if w.series == got[0].series && find(got, w) < 0 {
			faults = append(faults, fmt.Sprintf("%s on %s: no such program any more", w.program, w.series))
		}
	}
	return faults
}

func instructionsPath() string { return filepath.Join(moduleRoot, instructionsFile) }

// moduleRoot is where a test of this folder finds the module.
const moduleRoot = "../../.."

// hostRelease returns what uname -r says here.
func hostRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "this machine"
	}
	return unix.ByteSliceToString(u.Release[:])
}
