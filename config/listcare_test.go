// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config/yaml"
)

// stepsOf is what was done to the list of a bundle, as a test compares it.
func stepsOf(b *Bundle) string {
	l := b.Lists[0]
	out := fmt.Sprintf("%d rows, %d prefixes", l.Rows, l.Prefixes)
	for _, s := range l.Steps() {
		out += fmt.Sprintf(", %d %s", s.Count, s.Any)
	}
	return out
}

// Each step that makes prefixes of rows is counted.
func TestForeignListsArePutRight(t *testing.T) {
	good := rowsOfFeed(1000)
	for _, c := range []struct{ name, text, keys, want string }{
		{"as it is", "198.51.100.1\n", "", "1 rows, 1 prefixes"},
		{"host bits", "198.51.100.1/24\n", "", "1 rows, 1 prefixes, 1 rows masked to their length"},
		{"mapped", "::ffff:198.51.100.1\n", "", "1 rows, 1 prefixes, 1 rows of IPv4 in IPv6"},
		{"a range", "198.51.100.0-198.51.100.6\n", ", format: ranges", "1 rows, 3 prefixes, 1 ranges split"},
		{"reserved", "10.0.0.1\n198.51.100.1\n", "", "2 rows, 1 prefixes, 1 reserved ones left out"},
		{"protected", "192.0.2.1\n198.51.100.1\n", "", "2 rows, 2 prefixes, 1 protected ones left out here"},
		{"1 % twice", good + rowsOfFeed(10), "", "1010 rows, 1000 prefixes, 10 duplicates merged"},
		{"half twice", rowsOfFeed(20) + rowsOfFeed(10), ", max_duplicates: 34%",
			"30 rows, 20 prefixes, 10 duplicates merged"},
		{"twice by masking", good + "198.32.0.1/32\n198.32.0.7/32\n", "", "1002 rows, 1000 prefixes, 2 duplicates merged"},
		{"one bad row in 1,001", "x\n" + good, ", max_bad_rows: 0.1%", "1001 rows, 1000 prefixes, 1 bad rows left out"},
		{"merged", "198.51.100.0/25\n198.51.100.128/25\n198.51.100.7\n2001:db8::/33\n2001:db8:8000::/33\n", ", merge: true",
			"5 rows, 2 prefixes, 3 saved by merging"},
		{"widened", "2001:db8::1\n2001:db8::2\n2001:db8::/48\n2001:db8:0:1::/64\n198.51.100.1\n", ", ipv6: /64",
			"5 rows, 4 prefixes, 2 IPv6 ones widened"},
		{"widened and merged", "2001:db8::1\n2001:db8:0:1::1\n", ", ipv6: /64, merge: true",
			"2 rows, 1 prefixes, 2 IPv6 ones widened, 1 saved by merging"},
	} {
		b, err := parseList([]byte(c.text), c.keys)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if got := stepsOf(b); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// What is beyond a bound, or nobody may put right, refuses the bundle.
func TestListsAreNotPutRight(t *testing.T) {
	good := rowsOfFeed(1000)
	for _, c := range []struct {
		name, text, keys string
		want             []string
	}{
		{"1.2 % twice", rowsOfFeed(990) + rowsOfFeed(12), "", []string{"duplicate feed.txt:991:1"}},
		{"one twice and none may be", good + "198.32.0.0\n", ", max_duplicates: 0%", []string{"duplicate feed.txt:1001:1"}},
		{"two bad rows in 1,002", "x\ny\n" + good, ", max_bad_rows: 0.1%",
			[]string{"incomplete feed.txt:0:0", "syntax feed.txt:1:1", "syntax feed.txt:2:1"}},
		{"a bad row", "x\n" + good, "", []string{"syntax feed.txt:1:1"}},
		{"the last row bad", good + "198.51.100.\n", ", max_bad_rows: 0.1%",
			[]string{"incomplete feed.txt:0:0", "syntax feed.txt:1001:1"}},
		{"a NUL", "198.51.100.1\x00\n" + good, ", max_bad_rows: 0.1%", []string{"syntax feed.txt:1:13"}},
		{"HTML in the middle", good + "<p>198.51.100.1\n" + rowsOfFeed(10), ", max_bad_rows: 0.1%",
			[]string{"format feed.txt:1001:1"}},
		{"nothing", "", "", []string{"incomplete feed.txt:0:0"}},
		{"blank lines", "\n\n \n", "", []string{"incomplete feed.txt:0:0"}},
		{"comments", "# none today\n; none\n", "", []string{"incomplete feed.txt:0:0"}},
		{"no document", "  \n", ", format: json", []string{"incomplete feed.txt:0:0"}},
		{"an empty array", "[]", ", format: json", []string{"incomplete feed.txt:0:0"}},
		{"a header alone", "ip,score\n", ", format: csv, column: ip", []string{"incomplete feed.txt:0:0"}},
		{"names of hosts behind 0.0.0.0", "0.0.0.0 bad.example.com\n0.0.0.0 worse.example.com\n", "",
			[]string{"incomplete feed.txt:0:0"}},
		{"few rows", "198.51.100.1\n", ", expect: {min_rows: 2}", []string{"incomplete feed.txt:0:0"}},
		{"no trailer", "198.51.100.1\n# EN", `, expect: {trailer: "# END"}`, []string{"incomplete feed.txt:0:0"}},
		{"another count", "# Entries: 2\n198.51.100.1\n", `, expect: {count_from: "Entries:"}`,
			[]string{"incomplete feed.txt:0:0"}},
		{"no count", "198.51.100.1\n", `, expect: {count_from: "Entries:"}`, []string{"incomplete feed.txt:0:0"}},
		{"another count in JSON", `{"records": 2, "x": [{"cidr": "198.51.100.1"}]}`,
			", format: json, expect: {count_from: records}",
			[]string{"incomplete feed.txt:0:0"}},
	} {
		_, err := parseList([]byte(c.text), c.keys)
		f := mustFaults(t, err)
		if diff := cmp.Diff(c.want, briefs(f.List[:min(len(f.List), len(c.want))])); diff != "" {
			t.Errorf("%s (-want +got):\n%s\n%v", c.name, diff, err)
		}
	}
}

func TestWholeFilesAreTaken(t *testing.T) {
	for _, c := range []struct{ sample, keys string }{
		{"drop.jsonl", `, format: json, expect: {min_rows: 3, trailer: '"type":"metadata"', count_from: records}`},
		{"level.netset", ", expect: {count_from: Entries, min_rows: 4}"},
		{"tracker.csv", `, format: csv, column: dst_ip, expect: {trailer: "# END", count_from: "# END"}`},
	} {
		if b, err := parseList(feedSample(t, c.sample), c.keys); err != nil {
			t.Errorf("%s: %v", c.sample, err)
		} else if b.Lists[0].Rows < 3 || b.Lists[0].List != "feed" {
			t.Errorf("%s: %+v", c.sample, b.Lists)
		}
	}
}

// What an author wrote is his: in a bundle, in a file of his own, or in two blocks that disagree.
func TestOwnRowsStayStrict(t *testing.T) {
	for _, c := range []struct {
		name, blocks string
		want         []string
	}{
		{"own file twice", "- {list: x, rule: a, file: twice}", []string{"duplicate twice:1001:1"}},
		{"entries twice in a foreign list", "- {list: x, rule: a, third_party: true, max_duplicates: 100%, " +
			"entries: [198.51.100.1, 198.51.100.1]}", []string{"duplicate bundle.yaml:8:91"}},
		{"an entry again in a file", "- {list: x, rule: a, third_party: true, file: twice, entries: [198.32.0.3]}",
			[]string{"duplicate twice:4:1"}},
		{"with another rule", "- {list: x, rule: a, third_party: true, file: twice}\n    - {list: x, rule: b, third_party: true, " +
			"file: one}", []string{"duplicate one:1:1"}},
		{"max_duplicates", "- {list: x, rule: a, max_duplicates: 2%, file: one}", []string{"reference bundle.yaml:8:42"}},
		{"max_bad_rows", "- {list: x, rule: a, max_bad_rows: 0.1%, file: one}", []string{"reference bundle.yaml:8:40"}},
		{"merge", "- {list: x, rule: a, merge: true, file: one}", []string{"reference bundle.yaml:8:33"}},
		{"ipv6", "- {list: x, rule: a, ipv6: /64, file: one}", []string{"reference bundle.yaml:8:32"}},
		{"too many bad rows", "- {list: x, rule: a, third_party: true, max_bad_rows: 1%, file: one}", []string{"range bundle.yaml:8:59"}},
		{"too wide", "- {list: x, rule: a, third_party: true, ipv6: /32, file: one}", []string{"range bundle.yaml:8:51"}},
		{"no file", "- {list: x, rule: a, third_party: true, max_bad_rows: 0%, entries: [198.51.100.1]}", []string{"missing bundle.yaml:8:59"}},
		{"nothing to expect of", "- {list: x, rule: a, expect: {min_rows: 1}, entries: [198.51.100.1]}", []string{"missing bundle.yaml:8:34"}},
		{"merge in one block", "- {list: x, rule: a, third_party: true, merge: true, file: one}\n    " +
			"- {list: x, rule: a, third_party: true, file: twice}", []string{"type bundle.yaml:9:7"}},
		{"merge with two rules", "- {list: x, rule: a, third_party: true, merge: true, file: one}\n    " +
			"- {list: x, rule: b, third_party: true, merge: true, file: three}", []string{"type bundle.yaml:9:7"}},
	} {
		fsys := files("one", "198.32.0.1\n", "three", "198.51.100.3\n", "twice", rowsOfFeed(1000)+"198.32.0.0\n")
		_, err := ParseBundle("bundle.yaml", []byte(rulesAB+"  prefixes:\n    "+c.blocks+"\n"), fsys, testHost(), testOptions)
		if diff := cmp.Diff(c.want, briefs(mustFaults(t, err).List)); diff != "" {
			t.Errorf("%s (-want +got):\n%s\n%v", c.name, diff, err)
		}
	}
}

// A file beside the bundle that is no file, or nobody may read, says so in one sentence.
func TestUnreadableListFiles(t *testing.T) {
	dir := t.TempDir()
	feed := filepath.Join(dir, "feed.netset")
	text := strings.Replace(fmt.Sprintf(feedBundle, true), "lists/feed.netset", "feed.netset", 1)
	if err := os.WriteFile(filepath.Join(dir, "bundle.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		make func() error
		want string
	}{
		{"pipe", func() error { return syscall.Mkfifo(feed, 0o600) }, "not a regular file"},
		{"folder", func() error { return os.Mkdir(feed, 0o700) }, "not a regular file"},
		{"none", func() error { return nil }, "no such file"},
		{"unreadable", func() error { return os.WriteFile(feed, []byte("198.51.100.1\n"), 0) },
			"may not be read by this user"},
	} {
		if c.name == "unreadable" && os.Geteuid() == 0 {
			continue // root reads it
		}
		if err := c.make(); err != nil {
			t.Fatal(err)
		}
		_, err := LoadBundle(dir, nil, testOptions)
		if f := mustFaults(t, err); f.Total != 1 || f.List[0].Code != yaml.CodeFile || f.List[0].Line != 7 ||
			!strings.Contains(f.List[0].Problem, c.want) {
			t.Errorf("%s: %v, want one file fault that says %q", c.name, err, c.want)
		}
		if err := os.RemoveAll(feed); err != nil {
			t.Fatal(err)
		}
	}
}

// The slow way to the same: every address of small families, before and after.
func TestMergingKeepsTheAddresses(t *testing.T) {
	const seed = 7
	r := rand.New(rand.NewPCG(seed, 1))
	for range 500 {
		var rows []row
		has := map[netip.Addr]bool{}
		for range 1 + r.IntN(40) {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(r.Uint32())}), 24+r.IntN(9)).Masked()
			if slices.ContainsFunc(rows, func(x row) bool { return x.prefix == p }) {
				continue
			}
			rows = append(rows, row{prefix: p})
			for a := p.Addr(); p.Contains(a); a = a.Next() {
				has[a] = true
			}
		}
		slices.SortFunc(rows, compareRows)
		out := aggregate(rows, func(netip.Prefix) int { return 25 })
		n := 0
		for i, x := range out {
			for a := x.prefix.Addr(); x.prefix.Contains(a); a = a.Next() {
				if n++; !has[a] {
					t.Fatalf("seed %d: %s is new: %v", seed, a, out)
				}
			}
			if i == 0 {
				continue
			}
			if within(x.prefix, out[i-1].prefix) || comparePrefix(out[i-1].prefix, x.prefix) >= 0 {
				t.Fatalf("seed %d: not in order: %v", seed, out)
			}
			if wider, halves := joined(out[i-1].prefix, x.prefix); halves && wider.Bits() >= 25 {
				t.Fatalf("seed %d: %s is left in halves", seed, wider)
			}
		}
		if n != len(has) {
			t.Fatalf("seed %d: %d addresses of %d", seed, n, len(has))
		}
	}
}
