// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config/yaml"
)

const goodClient = `version: 1
clients:
  - name: tool
    versions: "1"
    family: go
    kind: tool
    hellos:
      - ja4: t12d0203h2_62ed6f6ca7ad_93a714dd7e90
    obtained: {how: published, date: 2026-11-21, source: somebody}
`

const goodStack = `version: 1
stacks:
  - name: scanner
    versions: "1"
    family: raw
    muonfp: ["1024:::"]
    obtained: {how: published, date: 2026-11, source: somebody}
`

func parseCatalogue(pairs ...string) error {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	_, err := Parse(fsys)
	return err
}

func mustFaults(t testing.TB, err error) *yaml.Faults {
	t.Helper()
	var f *yaml.Faults
	if !errors.As(err, &f) {
		t.Fatalf("got error %v, want faults", err)
	}
	return f
}

// briefs returns what a test names of faults: code and place.
func briefs(list []yaml.Fault) []string {
	out := []string{}
	for _, f := range list {
		out = append(out, fmt.Sprintf("%s %s:%d:%d", f.Code, f.File, f.Line, f.Column))
	}
	return out
}

func TestCatalogueSamplesAreGood(t *testing.T) {
	if err := parseCatalogue("a.yaml", goodClient, "b.yaml", goodStack, "notes.txt", "not read"); err != nil {
		t.Error(err)
	}
}

func TestCatalogueFaults(t *testing.T) {
	const ja4 = "t12d0203h2_62ed6f6ca7ad_93a714dd7e90"
	raw := func(first, lists string) string { return ja4 + "\n        ja4_r: \"" + first + "_" + lists + "\"" }
	for _, row := range []struct {
		name, text, old, new string
		want                 []string
	}{
		{"unknown field", goodClient, "kind:", "sort:", []string{"missing a.yaml:3:5", "unknown_field a.yaml:6:5"}},
		{"unknown family", goodClient, "family: go", "family: goo", []string{"range a.yaml:5:13"}},
		{"no hello", goodClient, "\n      - ja4: " + ja4, " []", []string{"range a.yaml:7:13"}},
		{"open part", goodClient, ja4, "t12d0203h2_*_93a714dd7e90", []string{"range a.yaml:8:14"}},
		{"no JA4", goodClient, ja4, "t12d0203h2", []string{"syntax a.yaml:8:14"}},
		{"a JA4 twice", goodClient, ja4, ja4 + "\n      - ja4: " + ja4, []string{"duplicate a.yaml:9:14"}},
		{"a name twice", goodClient, "clients:\n", "clients:\n" + goodClient[strings.Index(goodClient, "  - name"):],
			[]string{"duplicate a.yaml:10:11"}},
		{"bad date", goodClient, "2026-11-21", "yesterday", []string{"syntax a.yaml:9:38"}},
		{"measured how", goodClient, "how: published", "how: measured",
			[]string{"missing a.yaml:9:21", "missing a.yaml:9:21"}},
		{"no source", goodClient, ", source: somebody", "", []string{"missing a.yaml:9:21"}},
		{"lists of another JA4", goodClient, ja4, raw("t12d0203h2", "1301,1303_0005_0403"), []string{"range a.yaml:8:14"}},
		{"wrong stable", goodClient, ja4, ja4 + "\n        stable: t12d0203h2_62ed6f6ca7ad_000000000001\n        ja4_r: " +
			`"t12d0203h2_1301,1302_0005_0403"`, []string{"range a.yaml:9:17"}},
		{"unsorted", goodClient, ja4, raw("t12d0203h2", "1302,1301_0005_0403"), []string{"syntax a.yaml:9:16"}},
		{"miscounted ciphers", goodClient, ja4, raw("t12d0303h2", "1301,1302_0005_0403"), []string{"syntax a.yaml:9:16"}},
		{"miscounted extensions", goodClient, ja4, raw("t12d0204h2", "1301,1302_0005_0403"), []string{"syntax a.yaml:9:16"}},
		{"GREASE", goodClient, ja4, raw("t12d0203h2", "1301,1302_0a0a_0403"), []string{"syntax a.yaml:9:16"}},
		{"server name listed", goodClient, ja4, raw("t12d0203h2", "1301,1302_0000_0403"), []string{"syntax a.yaml:9:16"}},
		{"upper case", goodClient, ja4, raw("t12d0203h2", "1301,C02B_0005_0403"), []string{"syntax a.yaml:9:16"}},
		{"bad p0f", goodStack, `muonfp: ["1024:::"]`, `p0f: ["4:64"]`, []string{"syntax a.yaml:6:11"}},
		{"bad muonfp", goodStack, "1024:::", "1024::", []string{"syntax a.yaml:6:14"}},
		{"no fingerprint", goodStack, "\n    muonfp: [\"1024:::\"]", "", []string{"missing a.yaml:3:5"}},
		{"wrong version", goodStack, "version: 1", "version: 2", []string{"version a.yaml:1:10"}},
		{"no file", "", "", "", []string{"blank a.yaml:1:1"}},
	} {
		text := strings.Replace(row.text, row.old, row.new, 1)
		if text == row.text && row.old != "" {
			t.Fatalf("%s: nothing was replaced", row.name)
		}
		f := mustFaults(t, parseCatalogue("a.yaml", text))
		if diff := cmp.Diff(row.want, briefs(f.List)); diff != "" {
			t.Errorf("%s (-want +got):\n%s\n%v", row.name, diff, f)
		}
	}
}

// A name is known to all files.
func TestCatalogueNamesAcrossFiles(t *testing.T) {
	f := mustFaults(t, parseCatalogue("a.yaml", goodClient, "b.yaml", goodClient))
	if diff := cmp.Diff([]string{"duplicate b.yaml:3:11"}, briefs(f.List)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if text := f.Error(); !strings.Contains(text, "a.yaml:3") {
		t.Errorf("the fault does not say where the first is:\n%s", text)
	}
}
