// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config/yaml"
)

// parseList reads a list of somebody else from a file, with more keys in its block.
func parseList(feed []byte, keys string) (*Bundle, error) {
	text := fmt.Sprintf("version: 1\nname: t\nrules:\n  - {id: a, label: la, score: 60}\nfeatures:\n  prefixes:\n"+
		"    - {list: feed, rule: a, third_party: true, file: feed.txt%s}\npolicy: {default: {drop: 60}}\n", keys)
	return ParseBundle("bundle.yaml", []byte(text), files("feed.txt", string(feed)), testHost(), testOptions)
}

// feedSample is a file of the shape that a publisher has.
func feedSample(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("feed/testdata/samples/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestListFormats(t *testing.T) {
	for _, c := range []struct{ text, keys, want string }{
		{"198.51.100.1 # a\n", "", "[198.51.100.1/32]"},
		{"198.51.100.1\n", ", format: plain", "[198.51.100.1/32]"},
		{"a;ip\n1;198.51.100.1\n", `, format: csv, column: ip, separator: ";"`, "[198.51.100.1/32]"},
		{"1\t198.51.100.1\n", ", format: csv, column: 2, separator: tab", "[198.51.100.1/32]"},
		{"1   198.51.100.1\n", ", format: csv, column: 2, separator: space", "[198.51.100.1/32]"},
		{"1|198.51.100.1\n", `, format: csv, column: 2, separator: "|"`, "[198.51.100.1/32]"},
		{`{"net": {"x": ["198.51.100.0/24"]}}`, ", format: json, fields: [x]", "[198.51.100.0/24]"},
		{"198.51.100.0 - 198.51.100.5\n", ", format: ranges", "[198.51.100.0/30 198.51.100.4/31]"},
	} {
		b, err := parseList([]byte(c.text), c.keys)
		if err != nil {
			t.Errorf("%q%s: %v", c.text, c.keys, err)
		} else if got := fmt.Sprint(b.Prefixes[0].Entries); got != c.want {
			t.Errorf("%q%s: %s, want %s", c.text, c.keys, got, c.want)
		}
	}
}

func TestListFormatFaults(t *testing.T) {
	for _, c := range []struct{ keys, want string }{
		{", format: xml", "range bundle.yaml:7:72"},
		{", format: csv", "missing bundle.yaml:7:7"},
		{", format: csv, column: 0", "range bundle.yaml:7:85"},
		{", format: csv, column: 1001", "range bundle.yaml:7:85"},
		{", format: csv, column: true", "type bundle.yaml:7:85"},
		{`, format: csv, column: "a\tb"`, "syntax bundle.yaml:7:85"},
		{`, format: csv, column: 1, separator: "x"`, "range bundle.yaml:7:99"},
		{", column: 1", "missing bundle.yaml:7:72"},
		{", separator: tab", "missing bundle.yaml:7:75"},
		{", format: csv, column: 1, fields: [x]", "missing bundle.yaml:7:96"},
		{", format: json, fields: []", "range bundle.yaml:7:86"},
	} {
		_, err := parseList([]byte("198.51.100.1\n"), c.keys)
		if got := strings.Join(briefs(mustFaults(t, err).List), ", "); got != c.want {
			t.Errorf("%s: %s, want %s\n%v", c.keys, got, c.want, err)
		}
	}
	_, err := ParseBundle("bundle.yaml", []byte(strings.Replace(minimalBundle, "entries:", "format: json\n      entries:",
		1)), nil,
		testHost(), testOptions)
	if f := mustFaults(t, err); f.Total != 1 || brief(f.List[0]) != "missing bundle.yaml:9:15" {
		t.Errorf("a format without a file: %v", err)
	}
}

// A file that is something else is one fault, whatever else is wrong with it, with its place and what to write.
func TestMisfitIsOneFault(t *testing.T) {
	for _, c := range []struct{ name, keys, place, says string }{
		{"aws.json", "", "1:1", "format: json"},
		{"block.txt", "", "8:11", "format: ranges"},
		{"tracker.csv", "", "7:1", "format: csv, column: 2"},
		{"error.html", "", "1:1", "the list itself"},
		{"list.gz", ", format: json", "1:1", "gunzip"},
		{"utf16le.txt", "", "1:1", "UTF-8"},
		{"asns.txt", "", "2:1", "prefixes that the network announces"},
		{"p2p.txt", ", format: ranges", "2:1", "without the name"},
	} {
		_, err := parseList(feedSample(t, c.name), c.keys)
		f := mustFaults(t, err)
		if f.Total != 1 || f.List[0].Code != yaml.CodeFormat || !strings.Contains(f.List[0].Valid, c.says) {
			t.Errorf("%s: %v, want one fault that says %q", c.name, err, c.says)
		}
		if got := fmt.Sprintf("%d:%d", f.List[0].Line, f.List[0].Column); got != c.place || f.List[0].File != "feed.txt" {
			t.Errorf("%s: at %s:%s, want %s", c.name, f.List[0].File, got, c.place)
		}
	}
	garbage := strings.Repeat("nothing that anybody knows\n", 80_072)
	if _, err := parseList([]byte(garbage), ""); mustFaults(t, err).Total != 1 {
		t.Errorf("80,072 rows of nothing: %v", err)
	}
}

// The faults of rows have their places in every format, and excerpts where there are lines.
func TestFaultsOfRowsInEveryFormat(t *testing.T) {
	for _, c := range []struct {
		text, keys string
		want       []string
	}{
		{"id,ip\n1,198.51.100.1\n2,x\n3\n", ", format: csv, column: ip",
			[]string{"syntax feed.txt:3:3", "syntax feed.txt:4:1"}},
		{"[\"198.51.100.1\",\n \"x\", 7]", ", format: json", []string{"syntax feed.txt:2:2", "syntax feed.txt:2:7"}},
		{"198.51.100.9-198.51.100.1\n198.51.100.0-2001:db8::1\n0.0.0.0-255.255.255.255\n", ", format: ranges",
			[]string{"syntax feed.txt:1:1", "syntax feed.txt:2:1", "floor feed.txt:3:1"}},
	} {
		_, err := parseList([]byte(c.text), c.keys)
		f := mustFaults(t, err)
		if diff := cmp.Diff(c.want, briefs(f.List)); diff != "" {
			t.Errorf("faults (-want +got):\n%s\n%v", diff, err)
		}
		for _, one := range f.List {
			if one.Excerpt == "" {
				t.Errorf("%s has no excerpt", brief(one))
			}
		}
	}
}
