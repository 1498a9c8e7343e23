// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"errors"
	"strings"
	"sync"
	"testing"
)

// writing keeps two guests from writing the file at once.
var writing sync.Mutex

// checkInstructions compares what a guest's verifier counted with the committed file, or writes it there.
func checkInstructions(t *testing.T, series, release string, log []string) {
	t.Helper()
	got, err := parseCounts(series, release, log)
	if err != nil {
		t.Error(err)
		return
	}
	writing.Lock()
	defer writing.Unlock()
	if *update {
		if err := writeInstructions(instructionsPath(), series, got); err != nil {
			t.Error(err)
		}
		return
	}
	want, err := readInstructions(instructionsPath())
	if err != nil {
		t.Error(err)
		return
	}
	faults, same := compareCounts(want, got)
	switch {
	case len(faults) == 0:
	case same:
		t.Errorf("instruction counts:\n%s\nwrite them down with: go test ./test/kernels -update", strings.Join(faults, "\n"))
	default:
		t.Logf("instruction counts of another kernel than the one that is written down:\n%s", strings.Join(faults, "\n"))
	}
}

func asUnavailable(err error, into *unavailable) bool { return errors.As(err, into) }

func TestCompareCounts(t *testing.T) {
	at := func(release, program string, verified int) count { return count{"6.1", release, program, verified, 10} }
	want := []count{at("a", "root", 100), at("a", "dataplane", 10_000)}
	for _, row := range []struct {
		name   string
		got    []count
		faults int
		same   bool
	}{
		{"equal", []count{at("a", "root", 100), at("a", "dataplane", 10_000)}, 0, true},
		{"a little more", []count{at("a", "root", 105), at("a", "dataplane", 9_500)}, 0, true},
		{"grown", []count{at("a", "root", 106), at("a", "dataplane", 10_000)}, 1, true},
		{"shrunk", []count{at("a", "root", 100), at("a", "dataplane", 9_000)}, 1, true},
		{"another kernel", []count{at("b", "root", 100), at("b", "dataplane", 20_000)}, 1, false},
		{"a new program", []count{at("a", "root", 100), at("a", "dataplane", 10_000), at("a", "tail", 5)}, 1, true},
		{"a program less", []count{at("a", "root", 100)}, 1, true},
	} {
		faults, same := compareCounts(want, row.got)
		if len(faults) != row.faults || same != row.same {
			t.Errorf("%s: %v, same kernel: %v; want %d faults, %v", row.name, faults, same, row.faults, row.same)
		}
	}
}
