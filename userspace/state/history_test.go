// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/spillway/spillway/config"
)

func TestHistory(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	for i := range 5 {
		e := Entry{UID: 1000, User: "ann", Verb: "apply", Reason: fmt.Sprintf(`new "list" %d`, i), Number: uint32(i),
			Outcome: "applied", Digest: config.Digest{byte(i + 1)}}
		if err := s.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	got, skipped, err := s.History(2)
	if err != nil || skipped != 0 {
		t.Fatalf("skipped %d, %v", skipped, err)
	}
	want := []Entry{
		{At: noon, UID: 1000, User: "ann", Verb: "apply", Reason: `new "list" 4`, Number: 4, Outcome: "applied",
			Digest: config.Digest{5}},
		{At: noon, UID: 1000, User: "ann", Verb: "apply", Reason: `new "list" 3`, Number: 3, Outcome: "applied",
			Digest: config.Digest{4}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestTornAndChangedLinesAreSkipped(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	for i := range 3 {
		if err := s.Append(Entry{Verb: "apply", Number: uint32(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, historyFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte{'\n'})
	for cut := 1; cut < len(lines[2]); cut++ { // the last line, cut anywhere; without only its newline it is whole
		torn := append(append(bytes.Clone(lines[0]), lines[1]...), lines[2][:cut]...)
		if err := os.WriteFile(path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Append(Entry{Verb: "after"}); err != nil {
			t.Fatal(err)
		}
		entries, skipped, err := s.History(0)
		want := 1
		if cut == len(lines[2])-1 {
			want = 0
		}
		if err != nil || skipped != want || entries[0].Verb != "after" || len(entries) != 4-want {
			t.Fatalf("cut at %d: %d entries, skipped %d, %v", cut, len(entries), skipped, err)
		}
	}
	for i := range lines[1][:len(lines[1])-1] {
		data := bytes.Clone(whole)
		data[len(lines[0])+i] ^= 1
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		entries, skipped, err := s.History(0)
		if err != nil || skipped == 0 || len(entries) != 2 {
			t.Fatalf("byte %d changed: %d entries, skipped %d, %v", i, len(entries), skipped, err)
		}
	}
}

func TestHistoryTurnsOver(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	if err := s.Append(Entry{Verb: "old"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, historyFile), maxHistoryBytes+1); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(Entry{Verb: "new"}); err != nil {
		t.Fatal(err)
	}
	entries, skipped, err := s.History(0)
	if err != nil || len(entries) != 2 || entries[0].Verb != "new" || skipped != 1 {
		t.Errorf("%+v, skipped %d, %v", entries, skipped, err)
	}
}

func TestLongDetailsAreBounded(t *testing.T) {
	e := Entry{Verb: "apply"}
	for range 1000 {
		e.Detail = append(e.Detail, strings.Repeat("ä", 2000))
	}
	line, err := encodeEntry(e)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeEntry(bytes.TrimSuffix(line, []byte{'\n'}))
	if err != nil || len(got.Detail) != maxDetails+1 || got.Detail[maxDetails] != "and 950 more" || len(line) > 100_000 {
		t.Errorf("%d bytes, %d details, %v", len(line), len(got.Detail), err)
	}
}
