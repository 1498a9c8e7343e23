// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample returns a file of the shape that a publisher has. All of them are made up, of documentation addresses.
func sample(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "samples", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// told is a file as a test compares it: prefixes and bad rows with their places, then the summary or the error.
func told(data []byte, o Options) (rows []string, end string) {
	sum, err := Read(bytes.NewReader(data), o, func(r *Row) error {
		text := fmt.Sprintf("%d:%d", r.At.Line, r.At.Column)
		for _, p := range r.Prefixes {
			text += " " + p.String()
		}
		for _, step := range []struct {
			is   bool
			name string
		}{{r.Masked, "masked"}, {r.Unmapped, "unmapped"}, {r.Split, "split"}, {r.Hard, "hard"}} {
			if step.is {
				text += " " + step.name
			}
		}
		if r.Problem != "" {
			text += fmt.Sprintf(" %q %s", r.Text, r.Problem)
		}
		rows = append(rows, text)
		return nil
	})
	if err != nil {
		return rows, err.Error()
	}
	return rows, fmt.Sprintf("%d rows, header %d, count %d", sum.Rows, sum.Header, sum.Count)
}

// Each row is a file and what is read of it as its format.
func TestSamplesAreRead(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		want string
		end  string
	}{
		{"drop.txt", Options{}, "3:1 192.0.2.0/25|4:1 198.51.100.0/24|5:1 20" +
			"3.0.113.64/26", "3 rows, header 0, count -1"},
		{"drop.jsonl", Options{Format: JSON, CountFrom: "records"},
			"1:9 192.0.2.0/25|2:9 198.51.100.0/24|3:9 2001:db8:40::/48", "3 rows, header 0, count 3"},
		{"aws.json", Options{Format: JSON},
			"6:20 192.0.2.0/25|12:20 192.0.2.0/25|18:20 198.51.100.0/24|26:22 2001:db8:100::/40", "4 rows, header 0, count -1"},
		{"azure.json", Options{Format: JSON}, "13:29 192.0.2.0/28|13:45 198.51.100.16/30|13:65 2001:db8:1::/64|" +
			"20:61 192.0.2.0/28|20:77 203.0.113.0/25", "5 rows, header 0, count -1"},
		{"crawler.json", Options{Format: JSON}, "2:18 2001:db8:4801:10::/64|3:18 2001:db8:4801:11::/64|" +
			"4:18 192.0.2.0/27|5:18 192.0.2.32/27", "4 rows, header 0, count -1"},
		{"github.json", Options{Format: JSON, Fields: []string{"hooks", "web"}},
			"4:13 192.0.2.0/26|4:29 2001:db8::/32 masked|5:11 192.0.2.64/26|5:28 198.51.100.7/32", "4 rows, header 0, count -1"},
		{"addresses.json", Options{Format: JSON},
			"1:2 192.0.2.1/32|1:15 192.0.2.2/32|1:28 198.51.100.1/32 unmapped|1:51 2001:db8::/64 masked",
			"4 rows, header 0, count -1"},
		{"level.netset", Options{CountFrom: "Entries"},
			"9:1 192.0.2.0/24|10:1 198.51.100.0/25|11:1 198.51.100.200/32|12:1 203.0.113.64/26", "4 rows, header 0, count 4"},
		{"block.txt", Options{Format: Ranges}, "8:1 192.0.2.0/24|9:1 198.51.100.0/24|10:1 203.0.113.0/24",
			"3 rows, header 7, count -1"},
		{"exits.txt", Options{}, "1:1 192.0.2.17/32|2:1 192.0.2.99/32|3:1 198.51.100.3/32|4:1 203.0.113.250/32",
			"4 rows, header 0, count -1"},
		{"tracker.csv", Options{Format: CSV, Column: Column{Name: "dst_ip"}, CountFrom: "END"},
			"7:24 192.0.2.10/32|8:24 198.51.100.20/32|9:24 203.0.113.30/32", "3 rows, header 6, count 3"},
		{"tracker.csv", Options{Format: CSV, Column: Column{Number: 2}},
			"7:24 192.0.2.10/32|8:24 198.51.100.20/32|9:24 203.0.113.30/32", "3 rows, header 0, count -1"},
		{"semicolons.csv", Options{Format: CSV, Column: Column{Name: "IP"}, Separator: ';'},
			"2:1 192.0.2.40/32|3:1 198.51.100.41/32", "2 rows, header 1, count -1"},
		{"semicolons.csv", Options{Format: CSV, Column: Column{Number: 1}, Separator: ';'},
			"2:1 192.0.2.40/32|3:1 198.51.100.41/32", "2 rows, header 1, count -1"},
		{"counts.txt", Options{Format: CSV, Column: Column{Number: 1}, Separator: '\t'},
			"2:1 192.0.2.9/32|3:1 198.51.100.1/32|4:1 203.0.113.5/32", "3 rows, header 0, count -1"},
		{"tabs.txt", Options{Format: Ranges}, "1:1 192.0.2.0/25|2:1 198.51.100.4/30 198.51." +
			"100.8/31 split", "2 rows, header 0, count -1"},
		{"dashes.txt", Options{Format: Ranges},
			"1:1 192.0.2.0/25|2:1 198.51.100.4/30 198.51.100.8/31 split|3:1 2001:db8::/120|4:1 203.0.113.7/32",
			"4 rows, header 0, count -1"},
		{"nul.txt", Options{}, `1:1 192.0.2.1/32|2:10 hard "" a NUL byte in the text|3:1 192.0.2.3/32`, "3 rows, header 0, count -1"},
		{"quotes.csv", Options{Format: CSV, Column: Column{Number: 1}},
			`1:2 192.0.2.1/32|2:1 "\"192.0.2.2\",\"a \"b\" c\"" has a quoted cell that does not end where its column does|` +
				`3:1 "\"192.0.2.3" has a quoted cell that does not end where its column does|4:2 192.0.2.4/32`,
			"4 rows, header 0, count -1"},
		{"empty.txt", Options{}, "", "0 rows, header 0, count -1"},
		{"empty.txt", Options{Format: JSON}, "", "0 rows, header 0, count -1"},
		{"comments.txt", Options{}, "", "0 rows, header 0, count -1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows, end := told(sample(t, c.name), c.o)
			if diff := cmp.Diff(c.want, strings.Join(rows, "|")); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if end != c.end {
				t.Errorf("the end is %q, want %q", end, c.end)
			}
		})
	}
}

// Each row is a file that is not what its format says: one Misfit, with its place, that says what it is.
func TestMisfitsAreNamed(t *testing.T) {
	for _, c := range []struct {
		name, text string // a sample, or the text itself
		o          Options
		want       string
	}{
		{"drop.jsonl", "", Options{}, "1:1: this is JSON; valid: format: json"},
		{"aws.json", "", Options{Format: Ranges}, "1:1: this is JSON; valid: format: json"},
		{"addresses.json", "", Options{}, "1:1: this is JSON; valid: format: json"},
		{"github.json", "", Options{Format: JSON}, "1:1: no address stands in a field cidr, ip_prefix, ipv6_prefix, ipv4Prefix, " +
			"ipv6Prefix or addressPrefixes; valid: fields: [hooks, web, actions], or those of them that you want"},
		{"drop.txt", "", Options{Format: JSON}, "1:1: this is no JSON;" +
			" valid: another format (spillway lists probe FILE says which)"},
		{"block.txt", "", Options{}, "8:11: two addresses in a line; valid: format: ranges where they are the first and the last " +
			"of a range; where one of them counts, format: csv, column: 1, separator: tab"},
		{"tabs.txt", "", Options{}, "1:11: two addresses in a line; valid: format: ranges where they are the first and the last " +
			"of a range; where one of them counts, format: csv, column: 1, separator: tab"},
		{"pairs.txt", "", Options{}, "1:11: two addresses in a line; valid: format: ranges where they are the first and the last " +
			"of a range; where one of them counts, format: csv, column: 1, separator: space"},
		{"dashes.txt", "", Options{}, "1:1: this is a range, first-last; valid: format: ranges"},
		{"masks.txt", "", Options{Format: Ranges}, "1:1: an address and a netmask;" +
			" valid: a file with prefixes (192.0.2.0/24)"},
		{"masks.txt", "", Options{}, "1:11: an address and a netmask; valid: a file with prefixes (192.0.2.0/24)"},
		{"counts.txt", "", Options{}, "2:11: a number behind the address that may be its length: /9; valid: 192.0.2.0/24 where it " +
			"is; where it is not, format: csv, column: 1, separator: tab"},
		{"tracker.csv", "", Options{}, `7:1: the address is in column 2; valid: format: csv, column: 2`},
		{"tracker.csv", "", Options{Format: CSV, Column: Column{Name: "ip"}},
			"7:1: no header names a column ip; this line has " +
				"2026-10-01 10:11:12, 192.0.2.10, 443, online, 2026-11-29, Example, second; valid: column: and a name of the header, " +
				"or the column's number from 1"},
		{"p2p.txt", "", Options{}, "2:1: this is a p2p list, name:first-last;" +
			" valid: first-last alone, without the name, and format: ranges"},
		{"p2p.txt", "", Options{Format: Ranges}, "2:1: this is a p2p list, name:first-last;" +
			" valid: first-last alone, without the name, and format: ranges"},
		{"asns.txt", "", Options{}, "2:1: AS64496 is the number of a network (AS), not an address;" +
			" valid: the prefixes that the network announces"},
		{"asns.txt", "", Options{Format: Ranges}, "2:1: AS64496 is the number of a network (AS), not an address;" +
			" valid: the prefixes that the network announces"},
		{"names.txt", "", Options{}, "1:1: bad.example.com is the name of a host, not an address;" +
			" valid: a list of addresses"},
		{"error.html", "", Options{}, "1:1: this is HTML or XML: mostly an error page, or the page that links to the list; valid: " +
			"the list itself, as its server sends it to programs"},
		{"error.html", "", Options{Format: JSON}, "1:1: this is HTML or XML: mostly an error page, or the page that links to the " +
			"list; valid: the list itself, as its server sends it to programs"},
		{"list.gz", "", Options{}, "1:1: the file is compressed by gzip; valid: the file that gunzip makes of it"},
		{"utf16.txt", "", Options{}, "1:1: the file is UTF-16 text;" +
			" valid: the file as UTF-8: iconv -f UTF-16 -t UTF-8"},
		{"utf16le.txt", "", Options{}, "1:1: the file is UTF-16 text;" +
			" valid: the file as UTF-8: iconv -f UTF-16 -t UTF-8"},
		{"a page at the end", "192.0.2.1\n<html>\n", Options{}, "2:1: this is HTML or XML;" +
			" valid: the list itself, as its server sends it to programs"},
		{"an address behind a prefix", "192.0.2.0/24 # 1\n192.0.2.0/25, 198.51.100.1\n", Options{},
			"2:15: an address behind a prefix; valid: format: csv, column: 1, or the address in a comment (#)"},
		{"a semicolon between", "192.0.2.1;192.0.2.9\n", Options{}, "1:11: two addresses in a line; valid: format: ranges where " +
			`they are the first and the last of a range; where one of them counts, format: csv, column: 1, separator: ";"`},
		{"garbage", strings.Repeat("x y\n", 25), Options{}, "20:1: none of the first 20 rows has an address where format: plain " +
			"looks for it; valid: another format (spillway lists probe FILE says which)"},
		{"ports", "192.0.2.1:8080\n", Options{}, "1:1: 192.0.2.1:8080 is an address with a port;" +
			" valid: a list of addresses without ports"},
		{"ports of IPv6", "[2001:db8::1]:443\n", Options{}, "1:1: [2001:db8::1]:443 is an address with a port; valid: a list of " +
			"addresses without ports"},
		{"pages", "http://192.0.2.1/x.sh\n", Options{}, "1:1: this is a list of pages (URLs), not of addresses;" +
			" valid: a list of addresses"},
		{"cut JSON", `{"cidr": "192.0.2.0/24"}` + "\n{\"ci", Options{Format: JSON},
			"2:5: the JSON ends in the middle of a value;" +
				" valid: the whole file: it was cut off"},
		{"JSON with a slip", `{"cidr": "192.0.2.0/24",}`, Options{Format: JSON}, `1:25: '}' makes no JSON here;` +
			` valid: JSON documents, one or one a line`},
		{"NUL in JSON", "[\"192.0.2.1\x00\"]", Options{Format: JSON}, "1:13: a NUL byte in the JSON; valid: text"},
		{"deep", strings.Repeat("[", 70), Options{Format: JSON}, "1:66: more than 64 values in each other;" +
			" valid: a list of addresses"},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := []byte(c.text)
			if c.text == "" {
				data = sample(t, c.name)
			}
			_, err := Read(bytes.NewReader(data), c.o, func(*Row) error { return nil })
			var misfit *Misfit
			if !errors.As(err, &misfit) {
				t.Fatalf("got %v, want a misfit", err)
			}
			if diff := cmp.Diff(c.want, err.Error()); diff != "" {
				t.Errorf("misfit (-want +got):\n%s", diff)
			}
		})
	}
}
