// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"slices"
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
	if *rewrite {
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
	if releaseOf(want, series) != release {
		return // another kernel counts otherwise; the table says so
	}
	if faults := compareCounts(want, got); len(faults) > 0 {
		t.Errorf("instruction counts:\n%s\nwrite them down with: go test ./test/system/kernels -update",
			strings.Join(faults, "\n"))
	}
}

func TestCompareCounts(t *testing.T) {
	at := func(program string, verified int) count { return count{"6.1", "a", program, verified, 10} }
	want := []count{at("root", 100), at("dataplane", 10_000), {"6.12", "b", "other", 1, 1}}
	for _, row := range []struct {
		name   string
		got    []count
		faults int
	}{
		{"equal", []count{at("root", 100), at("dataplane", 10_000)}, 0},
		{"grown", []count{at("root", 101), at("dataplane", 10_000)}, 1},
		{"shrunk", []count{at("root", 100), at("dataplane", 9_999)}, 1},
		{"a new program", []count{at("root", 100), at("dataplane", 10_000), at("tail", 5)}, 1},
		{"a program less", []count{at("root", 100)}, 1},
	} {
		if faults := compareCounts(want, row.got); len(faults) != row.faults {
			t.Errorf("%s: %v; want %d faults", row.name, faults, row.faults)
		}
	}
}

// A suite whose test was renamed must not pass by running nothing.
func TestSuitesNameTheirTests(t *testing.T) {
	s := suite{tests: []string{"One", "Two/IPv6", "Three"}}
	if got, want := s.pattern(), "^TestOne$|^TestTwo$/^IPv6$|^TestThree$"; got != want {
		t.Errorf("pattern %s, want %s", got, want)
	}
	if missing := s.missing([]string{"TestOne", "TestThree", "TestTwofold"}); !slices.Equal(missing, []string{"TestTwo"}) {
		t.Errorf("missing %v, want TestTwo", missing)
	}
}
