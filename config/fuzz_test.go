// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/spillway/spillway/config/yaml"
)

// seeds are whole files and the pieces that parsers stumble over.
func seeds(f *testing.F, names ...string) {
	f.Helper()
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		// Cut off anywhere: a file that is being written.
		for i := 0; i < len(data); i += 97 {
			f.Add(data[:i])
		}
	}
	for _, piece := range []string{
		"", "\x00", "\xff", "\ufeff", "-", "- ", "?", "? a", ":", "a:", "a: b: c", "[", "]", "{", "}", "[[", "{{", "{[",
		"a: [", "a: {", "a: |", "a: >-\n", "a: \"", "a: '", "\t", "a:\t- b", "%", "%YAML", "---", "...", "--- a\n---\nb",
		"&a", "*a", "&a *a", "a: &a [*a]", "<<: 1", "!!str", "!<", "a: !!binary x", "#", "a: #", "a #", "a:\n  - b\n c",
		"a:\n\tb: c", "- - - a", "? - a\n: - b", "a: 1\na: 1", "1: 2", "true: false", "~: ~", "null:", "{a: b, a: c}",
		"[a: b]", "{a, b}", ",", "a: ,", "a: @", "a: `",
		"version: 1\nrules: [{}]", "version: 1\nrules: {}", "version: 1\nfeatures: []",
		"version: 1\nfeatures: {prefixes: [{}]}", "version: 1\npolicy: {services: []}",
		"version: 1\npolicy: {services: {1: {drop: 1}}}", "version: 1\nintent: {expects: []}",
		"version: 1e1", "version: 1_0", "version: 0o1", "version: -0", "version: \"1\"", "version: [1]",
		strings.Repeat("[", 200), strings.Repeat("{", 200), strings.Repeat("- ", 200), strings.Repeat("a: ", 200),
		strings.Repeat("a:\n ", 100), strings.Repeat("\n", 500) + "a", strings.Repeat("&a ", 100), strings.Repeat("? ", 100),
	} {
		f.Add([]byte(piece))
		f.Add([]byte("version: 1\nname: t\n" + piece))
		f.Add([]byte("version: 1\nname: " + piece + "\n"))
	}
}

// checkFaults says what holds for every refusal, whatever the file.
func checkFaults(t *testing.T, data []byte, err error) {
	t.Helper()
	var f *yaml.Faults
	if !errors.As(err, &f) {
		t.Fatalf("error is no *Faults: %v", err)
	}
	if f.Total < 1 || len(f.List) < 1 || f.Total < len(f.List) {
		t.Fatalf("%d faults, %d in the list", f.Total, len(f.List))
	}
	lines := strings.Count(string(data), "\n") + 1
	for _, one := range f.List {
		if one.Code == "" || one.Problem == "" || one.Line < 0 || (one.File == "f" && one.Line > lines+1) {
			t.Fatalf("fault without code, problem or place: %+v", one)
		}
	}
	if text := f.Error(); text == "" || strings.ContainsAny(text, "\x00\x1b\r") {
		t.Fatalf("message is empty or holds control characters: %q", text)
	}
}

func FuzzParseHost(f *testing.F) {
	seeds(f, "examples/spillway.yaml")
	f.Add([]byte(minimalHost))
	f.Fuzz(func(t *testing.T, data []byte) {
		host, err := ParseHost("f", data)
		if err != nil {
			checkFaults(t, data, err)
			return
		}
		if len(host.Interfaces) == 0 || len(host.Services) == 0 || host.Guards.Lease <= 0 || host.Capacity.Rules < 1 {
			t.Fatalf("a host without what it needs: %+v", host)
		}
	})
}

func FuzzParseBundle(f *testing.F) {
	seeds(f, "examples/bundle.yaml", "examples/pairs.yaml")
	f.Add([]byte(minimalBundle))
	f.Add([]byte(rulesAB + "  prefixes:\n    - {list: x, rule: a, third_party: true, file: lists/feed.netset, format: csv, column: 1, " +
		"separator: space, max_duplicates: 2%, max_bad_rows: 0.1%, merge: true, ipv6: /64, expect: {min_rows: 1, trailer: x, " +
		"count_from: y}}\n    - {list: y, rule: b, file: lists/feed.netset, format: json, fields: [z]}\n"))
	feed, err := fs.ReadFile(Examples, "examples/lists/feed.netset")
	if err != nil {
		f.Fatal(err)
	}
	fsys := fstest.MapFS{"lists/feed.netset": {Data: feed}}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ParseBundle("f", data, fsys, testHost(), testOptions)
		if err != nil {
			checkFaults(t, data, err)
			return
		}
		again, err := ParseCanonical(Canonical(b))
		if err != nil || again.Digest != b.Digest {
			t.Fatalf("canonical form does not come back: %v", err)
		}
		if n := Change(b, again).Len(); n != 0 {
			t.Fatalf("%d differences to its canonical form", n)
		}
	})
}

func FuzzListFile(f *testing.F) {
	for _, s := range []string{"", "\n", "198.51.100.0/24\n", "# x\n; y\n", "\ufeff198.51.100.0/24",
		"198.51.100.0/24 198.51.100.0/24", "::ffff:198.51.100.0/120\n198.51.100.0/24", "\x00", "\xff", "0/0", "::/0",
		"10.0.0.1\r\n", ",,,", "192.0.2.0/24\n192.0.2.1\n198.18.0.0/15\n", strings.Repeat("x", 70_000)} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	set := newProtectedSet(testHost(), testOptions.Own)
	f.Fuzz(func(t *testing.T, data []byte, thirdParty bool) {
		b, err := parseFeed(thirdParty, string(data), testHost())
		if err != nil {
			checkFaults(t, data, err)
			return
		}
		here, _ := b.LeaveOut(Protected(testHost(), testOptions.Own))
		for _, l := range here.Prefixes {
			for i, p := range l.Entries {
				if p != p.Masked() || p.Addr().Is4In6() || (i > 0 && comparePrefix(l.Entries[i-1], p) >= 0) {
					t.Fatalf("row %d, %s, is not normalised", i, p)
				}
				for _, g := range set.all {
					if within(p, g.prefix) {
						t.Fatalf("%s lies in the protected %s", p, g.prefix)
					}
				}
			}
		}
	})
}
