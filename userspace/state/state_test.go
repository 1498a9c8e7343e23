// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return noon }

func open(t *testing.T, dir string, fault func(op, path string) error) *Store {
	t.Helper()
	s, err := Open(dir, Options{Now: clock, Fault: fault})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func bundle(t *testing.T, name string) *config.Bundle {
	t.Helper()
	b, err := config.ParseBundle("bundle.yaml", []byte(fmt.Sprintf(`
version: 1
name: %s
rules: [{id: bad, label: denied, score: 100}]
features:
  prefixes: [{list: own, rule: bad, entries: [198.51.100.0/24]}]
policy: {default: {drop: 80}}
`, name)), nil, nil, config.BundleOptions{Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sample() *Record {
	digest := config.Digest{1, 2, 3}
	g := Generation{Digest: digest, Members: One("a", digest), Number: 7, At: noon, By: "root"}
	return &Record{Schema: recordSchema, LastNumber: 7, Applied: &g, Previous: &g, LastKnownGood: &g,
		Past: []Generation{g}, Trial: []Generation{g}, BakeUntil: noon.Add(time.Hour),
		Confirm:    &Confirm{Generation: g, Deadline: noon},
		Quarantine: []Quarantined{{Name: "a", Digest: digest, At: noon, By: "root", Reason: "broke <login>"}},
		Bypass:     map[string]Bypass{"": {Since: noon}, "web": {Since: noon, Until: noon.Add(time.Minute)}},
		Compiled:   []Compiled{{Number: 7, Wall: noon, MonotonicNS: 1 << 60}}}
}

func mustLoad(t *testing.T, s *Store) *Record {
	t.Helper()
	r, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecordRoundTrip(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	if got := mustLoad(t, s); got.LastNumber != 0 || got.Applied != nil {
		t.Errorf("an empty folder gives %+v", got)
	}
	if err := s.Save(sample()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), mustLoad(t, s)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	clone := sample().Clone()
	clone.Bypass["x"], clone.Applied.Number = Bypass{}, 9
	if diff := cmp.Diff(sample(), mustLoad(t, s)); diff != "" {
		t.Errorf("a clone shares memory: -want +got\n%s", diff)
	}
}

// Every byte of record.json, changed in two ways, and every length that it could be cut to.
func TestDamagedRecordIsSetAside(t *testing.T) {
	whole, err := encodeRecord(sample())
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, data []byte) {
		t.Helper()
		if r, err := decodeRecord(data); err == nil {
			t.Fatalf("%s: accepted as %+v", what, r)
		}
	}
	for i := range whole {
		for _, mask := range []byte{1, 0x20, 0xff} {
			data := bytes.Clone(whole)
			data[i] ^= mask
			check(fmt.Sprintf("byte %d ^ %#x", i, mask), data)
		}
		check(fmt.Sprintf("cut at %d", i), whole[:i])
	}

	dir := t.TempDir()
	s := open(t, dir, nil)
	for n, i := range []int{0, len(whole) / 2, len(whole) - 1} {
		data := bytes.Clone(whole)
		data[i] ^= 1
		if err := os.WriteFile(filepath.Join(dir, recordFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := mustLoad(t, s); got.Applied != nil {
			t.Fatalf("byte %d: a damaged record was used", i)
		}
		aside, _ := filepath.Glob(filepath.Join(dir, recordFile+".corrupt-*"))
		if len(aside) != n+1 || len(s.Damaged()) != n+1 {
			t.Fatalf("after %d damages: files %v, told %v", n+1, aside, s.Damaged())
		}
		if err := s.Save(sample()); err != nil {
			t.Fatalf("save after damage: %v", err)
		}
	}
}

func TestDamagedBundleIsNotAvailable(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	b := bundle(t, "one")
	if err := s.SaveBundle(b); err != nil {
		t.Fatal(err)
	}
	got, err := s.Bundle(b.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Names(b.Digest); err != nil || time.Since(n.Stored).Abs() > time.Hour {
		t.Errorf("when it came: %+v, %v", n, err)
	}
	if got.Digest != b.Digest || got.Name != "one" {
		t.Errorf("read back %s %q", got.Digest, got.Name)
	}
	whole, err := os.ReadFile(s.bundlePath(b.Digest))
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		data := bytes.Clone(whole)
		data[i] ^= 0x20
		if err := os.WriteFile(s.bundlePath(b.Digest), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Bundle(b.Digest); !errors.Is(err, ErrNoBundle) {
			t.Fatalf("byte %d: %v", i, err)
		}
		if _, err := os.Stat(s.bundlePath(b.Digest)); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("byte %d: the damaged bundle is still in its place", i)
		}
	}
	if err := s.SaveBundle(b); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bundle(b.Digest); err != nil {
		t.Errorf("saved again: %v", err)
	}
	if _, err := s.Bundle(config.Digest{9}); !errors.Is(err, ErrNoBundle) {
		t.Errorf("a bundle that never was: %v", err)
	}
}

// A disk that fills up at the Nth operation, for every N: the old or the new state is there, never a part of one.
func TestA40DiskFullAtEveryOperation(t *testing.T) {
	full := errors.New("no space left on device")
	old, next := sample(), sample()
	next.LastNumber = 8
	for n := 1; ; n++ {
		dir := t.TempDir()
		s := open(t, dir, nil)
		if err := s.Save(old); err != nil {
			t.Fatal(err)
		}
		if err := s.Append(Entry{Verb: "first"}); err != nil {
			t.Fatal(err)
		}
		count := 0
		s.disk.opts.Fault = func(op, _ string) error {
			if op == opRead {
				return nil
			}
			if count++; count == n {
				return full
			}
			return nil
		}
		b := bundle(t, "full")
		errs := errors.Join(s.SaveBundle(b), s.Save(next), s.Append(Entry{Verb: "second"}))
		if errs == nil {
			if n < 8 {
				t.Fatalf("only %d operations could fail", n-1)
			}
			return
		}
		if !errors.Is(errs, full) {
			t.Fatalf("operation %d: %v", n, errs)
		}
		s.disk.opts.Fault = nil
		if got := mustLoad(t, s).LastNumber; got != 7 && got != 8 {
			t.Errorf("operation %d: the record has number %d", n, got)
		}
		if _, err := s.Bundle(b.Digest); err != nil && !errors.Is(err, ErrNoBundle) {
			t.Errorf("operation %d: %v", n, err)
		}
		if len(s.Damaged()) > 0 {
			t.Errorf("operation %d: damaged %v", n, s.Damaged())
		}
		if err := s.Append(Entry{Verb: "third"}); err != nil {
			t.Fatal(err)
		}
		entries, _, err := s.History(0)
		if err != nil || entries[0].Verb != "third" || entries[len(entries)-1].Verb != "first" {
			t.Errorf("operation %d: history %+v, %v", n, entries, err)
		}
		left, _ := filepath.Glob(filepath.Join(dir, "*", ".new-*"))
		if len(left) > 0 {
			t.Errorf("operation %d: left behind %v", n, left)
		}
	}
}

func TestA24PruneKeepsWhatIsReferenced(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	var all []config.Digest
	for i := range keptBundles + 5 {
		b := bundle(t, fmt.Sprintf("b%d", i))
		if err := s.SaveBundle(b); err != nil {
			t.Fatal(err)
		}
		at := noon.Add(time.Duration(i) * time.Minute)
		if err := os.Chtimes(s.bundlePath(b.Digest), at, at); err != nil {
			t.Fatal(err)
		}
		all = append(all, b.Digest)
	}
	if err := s.Prune([]config.Digest{all[0]}); err != nil {
		t.Fatal(err)
	}
	for i, d := range all {
		_, err := s.Bundle(d)
		if want := i == 0 || i >= 5; (err == nil) != want {
			t.Errorf("bundle %d: %v, want it there: %v", i, err, want)
		}
	}
}

func TestUnusableFolder(t *testing.T) {
	cause := errors.New("read-only file system")
	s := Unusable("/nowhere", cause, Options{})
	if r := mustLoad(t, s); r.Applied != nil {
		t.Error("something was read")
	}
	for what, err := range map[string]error{"save": s.Save(sample()), "append": s.Append(Entry{}),
		"bundle": s.SaveBundle(bundle(t, "x"))} {
		if !errors.Is(err, cause) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A folder that went read-only is still read.
func TestUnusableFolderIsRead(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := bundle(t, "x")
	if err := errors.Join(s.Save(sample()), s.SaveBundle(b), s.Append(Entry{Verb: "apply"}), s.Close()); err != nil {
		t.Fatal(err)
	}
	broken := Unusable(dir, errors.New("read-only file system"), Options{})
	if r := mustLoad(t, broken); r.LastKnownGood == nil || r.LastKnownGood.Digest != sample().LastKnownGood.Digest {
		t.Errorf("record %+v", r)
	}
	if got, err := broken.Bundle(b.Digest); err != nil || got.Digest != b.Digest {
		t.Errorf("bundle: %v", err)
	}
	if all, _, err := broken.History(0); err != nil || len(all) != 1 {
		t.Errorf("history: %v, %v", all, err)
	}
}

// Two processes want one state. The child holds it until it is killed, and leaves nothing stale.
func TestLock(t *testing.T) {
	if dir := os.Getenv("SPILLWAY_TEST_LOCK"); dir != "" {
		s, err := Open(dir, Options{})
		if err != nil {
			fmt.Println("failed", err)
			os.Exit(1)
		}
		fmt.Println("locked")
		time.Sleep(time.Minute)
		_ = s.Close() // a store that nobody holds would be collected, and its lock with it
	}
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestLock$")
	child.Env = append(os.Environ(), "SPILLWAY_TEST_LOCK="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill() }()
	line := make([]byte, 6)
	if _, err := out.Read(line); err != nil || string(line) != "locked" {
		t.Fatalf("child said %q, %v", line, err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Fatalf("a second writer: %v", err)
	}
	if err := child.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatalf("after the first was killed: %v", err)
	}
	_ = s.Close()
}
