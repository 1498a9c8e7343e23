// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/spillway/spillway/config"
)

var ignoreRest = cmpopts.IgnoreTypes(Rest(""))

// full is a record in which every field has a value. A new field needs one here: fields panics without.
func full() *Record {
	r := sample()
	r.Schema, r.ModeHeld, r.HostDigest, r.Rest = recordSchema, true, "00", `{"later":1}`
	r.Compiled[0].Services, r.Compiled[0].Allowlist = map[string]uint8{"web": 1}, 2
	r.Compiled[0].Terms = []Terms{{Service: "web", Terms: config.Terms{Kind: config.KindTLS, Confirm: config.ConfirmAuto,
		Beside: []string{"mail"}}}}
	r.Compiled[0].LeftOut = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	r.Compiled[0].Sums = map[string]string{"rules": "2 rows"}
	r.Held = &Held{Generation: *r.Applied, Since: noon, Reason: "asleep"}
	r.Attached = []Attached{{Interface: "eth0", Index: 2, Link: 3, Times: []time.Time{noon}}}
	return r.Clone()
}

// field is a place in a record.
type field struct {
	path string
	get  func(*Record) reflect.Value
}

// fields are all texts, lists and maps below a value.
func fields(v reflect.Value, path string, get func(*Record) reflect.Value) (out []field) {
	down := func(v reflect.Value, name string, step func(reflect.Value) reflect.Value) {
		out = append(out, fields(v, path+name, func(r *Record) reflect.Value { return step(get(r)) })...)
	}
	switch v.Kind() {
	case reflect.Pointer:
		down(v.Elem(), "", reflect.Value.Elem)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				down(v.Field(i), "."+v.Type().Field(i).Name, func(v reflect.Value) reflect.Value { return v.Field(i) })
			}
		}
	case reflect.Slice:
		out = append(out, field{path, get})
		down(v.Index(0), "[0]", func(v reflect.Value) reflect.Value { return v.Index(0) })
	case reflect.Map, reflect.String:
		out = append(out, field{path, get})
	}
	return out
}

// grow makes a field hold what no API lets through.
func grow(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.String:
		text := strings.Repeat("<ä\x01", n)
		if v.Type() == reflect.TypeFor[Rest]() {
			text = `{"later":"` + strings.Repeat("x", n) + `"}`
		}
		v.SetString(text)
	case reflect.Slice:
		for range n {
			v.Set(reflect.Append(v, v.Index(0)))
		}
	case reflect.Map:
		key := reflect.New(v.Type().Key()).Elem()
		key.SetString(strings.Repeat("k", n))
		v.SetMapIndex(key, reflect.Zero(v.Type().Elem()))
	}
}

// F9: whatever a record holds, Save refuses it, or Load gives it back: no reason of a megabyte becomes a record that
// the next start calls damaged. What Save refuses leaves what was there.
func TestF9SaveRefusesWhatLoadWould(t *testing.T) {
	all := fields(reflect.ValueOf(full()), "", func(r *Record) reflect.Value { return reflect.ValueOf(r) })
	if len(all) < 35 {
		t.Fatalf("only %d fields are tried", len(all))
	}
	record, err := encodeRecord(full())
	if err != nil {
		t.Fatal(err)
	}
	quarantined, err := encodeQuarantine(quarantine{Entries: full().Quarantine})
	if err != nil {
		t.Fatal(err)
	}
	before, refused := map[string][]byte{recordFile: record, quarantineFile: quarantined}, 0
	for _, f := range all {
		sizes := []int{1 << 20}
		switch v := f.get(full()); {
		case v.Kind() == reflect.Slice:
			sizes = []int{1 << 8}
			if strings.Count(f.path, ".") == 1 {
				sizes = append(sizes, 1<<15)
			}
		case v.Type() == reflect.TypeFor[Rest]():
			sizes = []int{1 << 16}
			if strings.Count(f.path, ".") == 1 {
				sizes = append(sizes, maxRecordBytes)
			}
		}
		for _, n := range sizes {
			what := fmt.Sprintf("%s with %d", f.path, n)
			dir := t.TempDir()
			for name, data := range before {
				if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s := open(t, dir, nil)
			r := full()
			grow(f.get(r), n)
			want := r.Clone()
			bound(want)
			if err := s.Save(r); err != nil {
				refused++
				want = full()
			}
			_ = s.Close()
			s = open(t, dir, nil)
			if got := mustLoad(t, s); !reflect.DeepEqual(want, got) || len(s.Damaged()) > 0 {
				diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}))
				t.Errorf("%s: damaged %v; -want +got\n%.2000s", what, s.Damaged(), diff)
			}
			_ = s.Close()
			_ = os.RemoveAll(dir)
		}
	}
	t.Logf("%d fields, %d refused", len(all), refused)
}

// F9: one reason of a megabyte costs itself alone: the others of its file are there, in the record, among the bans and
// in the history.
func TestF9ReasonsOfAMegabyte(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	long := strings.Repeat("<&>", 1<<20/3)
	r := &Record{}
	for i := range keptQuarantine {
		r.AddQuarantine(Quarantined{Name: "edge", Digest: config.Digest{byte(i)}, At: noon, Reason: long})
	}
	if err := s.Save(r); err != nil {
		t.Fatal(err)
	}
	ban := func(last byte, reason string) Ban {
		return Ban{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, last}), 32), Expires: noon, Made: noon,
			By: "ann", Reason: reason}
	}
	if err := s.Bans().Change([]Ban{ban(1, "a"), ban(2, long), ban(3, "c")}, nil); err != nil {
		t.Fatal(err)
	}
	for _, reason := range []string{"a", long, "c"} {
		if err := s.Append(
			Entry{Verb: "apply", User: long, Name: long, Outcome: long, Reason: reason, Detail: []string{long}}); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.Close()
	s = open(t, dir, nil)
	got := mustLoad(t, s)
	if len(got.Quarantine) != keptQuarantine || len(got.Quarantine[0].Reason) > maxTextBytes ||
		!strings.HasPrefix(got.Quarantine[0].Reason, "<&><&>") {
		t.Errorf("%d in quarantine", len(got.Quarantine))
	}
	if bans := s.Bans().All(); len(bans) != 3 || bans[2].Reason != "c" || len(bans[1].Reason) > maxTextBytes {
		t.Errorf("%d bans", len(bans))
	}
	entries, skipped, err := s.History(0)
	if err != nil || skipped > 0 || len(entries) != 3 || entries[2].Reason != "a" ||
		len(entries[1].Reason) > maxTextBytes {
		t.Errorf("%d lines, %d skipped, %v", len(entries), skipped, err)
	}
	for _, name := range []string{recordFile, quarantineFile, bansFile, historyFile} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || len(data) > 100_000 || strings.Contains(string(data), `\u003c`) {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
	}
}

// F9: a line of any length, as an older release wrote it, costs itself alone.
func TestF9AnOversizedLineIsSkipped(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	if err := s.Append(Entry{Verb: "first"}); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, historyFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		_, _ = fmt.Fprintf(f, "{\"reason\":%q}\n", strings.Repeat("x", 3*maxLineBytes))
	}
	_ = f.Close()
	if err := s.Append(Entry{Verb: "last"}); err != nil {
		t.Fatal(err)
	}
	entries, skipped, err := s.History(0)
	if err != nil || skipped != 5 || len(entries) != 2 || entries[0].Verb != "last" || entries[1].Verb != "first" {
		t.Errorf("%+v, %d skipped, %v", entries, skipped, err)
	}
}

func TestClip(t *testing.T) {
	for _, text := range []string{"", "reason", strings.Repeat("x", maxTextBytes), strings.Repeat("x", maxTextBytes+1),
		strings.Repeat("ä", maxTextBytes), strings.Repeat("\xff", maxTextBytes+1)} {
		got := clip(text)
		if len(got) > maxTextBytes || len(text) <= maxTextBytes && got != text || clip(got) != got {
			t.Errorf("%d bytes became %d", len(text), len(got))
		}
	}
}

// The newest lines are found in a long history, and the older ones are not held in memory.
func TestNewestLinesOfALongHistory(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	s.disk.opts.Now = func() time.Time { return noon }
	for i := range 1000 {
		if err := s.Append(Entry{Verb: "apply", Number: uint32(i)}); err != nil {
			t.Fatal(err)
		}
	}
	entries, _, err := s.History(10)
	if err != nil || len(entries) != 10 || entries[0].Number != 999 || entries[9].Number != 990 {
		t.Errorf("%+v, %v", entries, err)
	}
}
