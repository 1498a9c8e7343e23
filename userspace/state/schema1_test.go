// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config"
)

// schema1 puts a state.json, as the release before wrote it, into a folder.
func schema1(t *testing.T, dir string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/state.schema1.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, file1), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return data
}

func wantOld(t *testing.T, s *Store) {
	t.Helper()
	r := mustLoad(t, s)
	at := time.Date(2026, 11, 20, 9, 30, 0, 123456789, time.UTC)
	two := config.Digest{4, 5, 6}
	if diff := cmp.Diff(&Generation{Digest: two, Members: One("edge", two), Number: 9, At: at.Add(time.Hour),
		By: "bob by sudo"}, r.Applied); diff != "" {
		t.Errorf("applied: -want +got\n%s", diff)
	}
	if r.LastNumber != 11 || r.LastKnownGood.Number != 7 || r.LastKnownGood.Name() != "edge" || !r.ModeHeld ||
		r.HostDigest != "00ff00ff" || !r.BakeUntil.Equal(at.Add(90*time.Minute)) {
		t.Errorf("record %+v", r)
	}
	if c := r.Confirm; c == nil || c.Number != 11 || c.Name() != "lists" || !c.Deadline.Equal(at.Add(3*time.Hour)) {
		t.Errorf("confirm %+v", r.Confirm)
	}
	if q := r.Quarantine; len(q) != 1 || !q[0].Holds("whatever", config.Digest{9, 9}) ||
		q[0].Reason != `the <login> & "checkout" broke` {
		t.Errorf("quarantine %+v", q)
	}
	if len(r.Bypass) != 2 || r.Bypass[""].Reason != "drill" || len(r.Compiled) != 2 ||
		r.Compiled[0].Services["web"] != 1 || r.Compiled[0].Allowlist != 3 {
		t.Errorf("bypass %+v, compiled %+v", r.Bypass, r.Compiled)
	}
	bans := s.Bans().All()
	if len(bans) != 2 || bans[0].Prefix.String() != "192.0.2.7/32" || bans[0].Reason != "scraper <x>" ||
		bans[1].By != FoundBy || !bans[1].Expires.Equal(at.Add(2*time.Hour)) {
		t.Errorf("bans %+v", bans)
	}
}

// The record of the release before is read, and converted once.
func TestSchema1IsConverted(t *testing.T) {
	dir := t.TempDir()
	schema1(t, dir)
	s := open(t, dir, nil)
	wantOld(t, s)
	for name, want := range map[string]bool{file1: false, converted1: true, recordFile: true,
		quarantineFile: true, bansFile: true} {
		if exists(filepath.Join(dir, name)) != want {
			t.Errorf("%s is there: %v", name, !want)
		}
	}
	wantOld(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantOld(t, open(t, dir, nil))
}

// An older release that ran again after the conversion wrote another state.json: it knows more.
func TestSchema1AgainAfterADowngrade(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	if err := s.Save(sample()); err != nil {
		t.Fatal(err)
	}
	schema1(t, dir)
	wantOld(t, s)
}

// A disk that refuses any step of the conversion: what the old file says counts, and nothing of it is lost.
func TestSchema1OnADiskThatRefuses(t *testing.T) {
	full := errors.New("no space left on device")
	for n := 1; ; n++ {
		dir, count := t.TempDir(), 0
		whole := schema1(t, dir)
		s := open(t, dir, func(op, _ string) error {
			if count++; op != opRead && count >= n {
				return full
			}
			return nil
		})
		wantOld(t, s)
		if count < n {
			if n < 10 {
				t.Fatalf("only %d operations could fail", n-1)
			}
			return
		}
		if !exists(filepath.Join(dir, converted1)) {
			if data, err := os.ReadFile(filepath.Join(dir, file1)); err != nil || !bytes.Equal(data, whole) {
				t.Fatalf("operation %d: the old record changed: %v", n, err)
			}
			if err := s.Save(mustLoad(t, s)); err == nil {
				t.Errorf("operation %d: a save beside a record that is not converted", n)
			}
		}
		s.disk.opts.Fault = nil
		r := mustLoad(t, s)
		if err := s.Save(r); err != nil {
			t.Errorf("operation %d: %v", n, err)
		}
		if err := errors.Join(s.Bans().Flush(), s.Close()); err != nil {
			t.Error(err)
		}
		wantOld(t, open(t, dir, nil))
	}
}

func TestDamagedSchema1IsSetAside(t *testing.T) {
	dir := t.TempDir()
	data := schema1(t, dir)
	for i := range data {
		changed := bytes.Clone(data)
		changed[i] ^= 0x20
		if _, err := decode1(changed); !errors.Is(err, errCorrupt) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	data[40] ^= 1
	if err := os.WriteFile(filepath.Join(dir, file1), data, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, nil)
	if r := mustLoad(t, s); r.Applied != nil || len(s.Damaged()) != 1 {
		t.Errorf("record %+v, damaged %v", r, s.Damaged())
	}
}
