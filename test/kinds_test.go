// SPDX-License-Identifier: Apache-2.0

package test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// How many files name the kind of feature that all others are made like. Whoever takes a place away lowers the number;
// it never rises, so that the next kind has the same few places.
const (
	namesOfAKind    = 8  // where JA4 is a kind of feature: to be read, counted, compiled, compared
	namesOfSighting = 34 // where it is what a client says: captures, events, the catalogue, golden clients, the demo
)

// sightings are the places that tell of clients and not of bundles.
var sightings = []string{"userspace/fingerprint/", "userspace/events/", "userspace/show/",
	"userspace/demo/", "config/signature/",
	"config/catalogue", "config/known", "cmd/spillway/fingerprint.go", "userspace/taste/",
	"loader/probe/", "loader/aside.go", "loader/compile/known.go"}

func TestAKindOfFeatureHasFewPlaces(t *testing.T) {
	out, err := exec.Command("git", "-C", "..", "ls-files", "bpf/*.go", "config/*.go", "loader/*.go",
		"userspace/*.go", "cmd/*.go").Output()
	if err != nil {
		t.Fatalf("list the files: %v", err)
	}
	var kind, sighting []string
	for name := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n") {
		if strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, "_bpfel.go") {
			continue
		}
		text, err := os.ReadFile("../" + name)
		if err != nil || !bytes.Contains(text, []byte("JA4")) {
			continue
		}
		of := &kind
		for _, place := range sightings {
			if strings.HasPrefix(name, place) {
				of = &sighting
			}
		}
		*of = append(*of, name)
	}
	for _, c := range []struct {
		what  string
		files []string
		bound int
	}{{"a kind of feature", kind, namesOfAKind}, {"what a client says", sighting, namesOfSighting}} {
		switch {
		case len(c.files) > c.bound:
			t.Errorf("%d files name JA4 as %s, at most %d may: range over kinds (config/kind.go, loader/compile/kind.go)\n  %s",
				len(c.files), c.what, c.bound, strings.Join(c.files, "\n  "))
		case len(c.files) < c.bound:
			t.Errorf("%d files name JA4 as %s: lower the bound, which is %d", len(c.files), c.what, c.bound)
		}
	}
}
