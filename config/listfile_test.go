// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config/yaml"
)

// feedBundle names one list file.
const feedBundle = `version: 1
name: t
rules:
  - {id: a, label: la, score: 60}
features:
  prefixes:
    - {list: feed, rule: a, third_party: %v, file: lists/feed.netset}
policy: {default: {drop: 60}}
`

func parseFeed(thirdParty bool, feed string, host *Host) (*Bundle, error) {
	return ParseBundle("etc/bundle.yaml", fmt.Appendf(nil, feedBundle, thirdParty),
		files("lists/feed.netset", feed), host, testOptions)
}

// Each row is a list file and all faults that it gives.
func TestListFileFaults(t *testing.T) {
	const feed = "etc/lists/feed.netset"
	for _, c := range []struct {
		name, feed string
		third      bool
		want       []string
	}{
		{"no address", "198.51.100.0/24\n\n  nonsense  # why\n", false, []string{"syntax " + feed + ":3:3"}},
		{"duplicate", "198.51.100.0/24\n# x\n198.51.100.0/24\n", false, []string{"duplicate " + feed + ":3:1"}},
		{"duplicate in a foreign list", "198.51.100.0/24\n198.51.100.0/24\n", true, []string{"duplicate " + feed + ":2:1"}},
		{"floor in a foreign list", "64.0.0.0/2\n0.0.0.0/0\n::/0\n", true,
			[]string{"floor " + feed + ":1:1", "floor " + feed + ":2:1", "floor " + feed + ":3:1"}},
		{"protected", " 192.0.2.1\n", false, []string{"protected " + feed + ":1:2"}},
		{"reserved", "127.0.0.1\n", false, []string{"reserved " + feed + ":1:1"}},
		{"NUL", "198.51.100.0/24\n\x00\n203.0.113.0/24 # \x00\n", false,
			[]string{"syntax " + feed + ":2:1", "syntax " + feed + ":3:18"}},
		{"NUL in a comment line", "# \x00\n", true, []string{"syntax " + feed + ":1:3"}},
		{"not UTF-8", "198.51.100.0/24 # caf\xe9\n", true, []string{"syntax " + feed + ":1:22"}},
		{"UTF-16", "\xff\xfe1\x009\x00", true, []string{"format " + feed + ":1:1"}},
		{"long line", "198.51.100.0/24 " + strings.Repeat("x", 64<<10), true, []string{"file etc/bundle.yaml:7:54"}},
		{"comma first", ",198.51.100.0/24\n", true, []string{"format " + feed + ":1:1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseFeed(c.third, c.feed, testHost())
			f := mustFaults(t, err)
			if diff := cmp.Diff(c.want, briefs(f.List)); diff != "" {
				t.Errorf("faults (-want +got):\n%s\n%v", diff, err)
			}
			for _, fault := range f.List {
				if fault.Line > 0 && fault.Excerpt == "" {
					t.Errorf("%s has no excerpt", brief(fault))
				}
			}
		})
	}
}

func TestListFileIsRead(t *testing.T) {
	b, err := parseFeed(true, "\ufeff# a feed\r\n198.51.100.0/24 ; SBL1\r\n\r\n; x\n\t203.0.113.7,high\n"+
		"2001:db8:bad::/48#y\n10.0.0.1\n192.168.0.0/16\nfe80::1\n0.0.0.0/8\n"+
		"192.0.2.3\n192.0.2.0/29\n198.18.0.1\n192.0.2.0/24\n::ffff:203.0.113.8", testHost())
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(b.Prefixes[0].Entries)
	if want := "[192.0.2.0/24 192.0.2.0/29 192.0.2.3/32 198.18.0.1/32 198.51.100.0/24 203.0.113.7/32 203.0.113.8/32 2001:db8:bad::/48]"; got != want {
		t.Errorf("entries are %s, want %s", got, want)
	}
	here, _ := b.LeaveOut(Protected(testHost(), testOptions.Own))
	got = fmt.Sprint(here.Prefixes[0].Entries)
	if want := "[192.0.2.0/24 198.51.100.0/24 203.0.113.7/32 203.0.113.8/32 2001:db8:bad::/48]"; got != want {
		t.Errorf("this host compiles %s, want %s", got, want)
	}
	if b.OmittedReserved != 4 || b.OmittedProtected != 3 {
		t.Errorf("left out %d reserved and %d protected, want 4 and 3", b.OmittedReserved, b.OmittedProtected)
	}
	if got, want := fmt.Sprint(b.Carved), "[192.0.2.0/28]"; got != want {
		t.Errorf("carved out %s, want %s", got, want)
	}
}

// An own list may name private addresses: there are bots inside, too.
func TestOwnListMayNamePrivateAddresses(t *testing.T) {
	b, err := parseFeed(false, "10.1.0.0/16\n100.64.0.1\nfd00::/48\n64:ff9b::c000:201\n", testHost())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(b.Prefixes[0].Entries); n != 4 || b.OmittedReserved != 0 {
		t.Errorf("kept %d rows and left out %d, want 4 and 0", n, b.OmittedReserved)
	}
}

func TestCapacityNamesBothNumbers(t *testing.T) {
	host := testHost()
	host.Capacity.Prefixes4, host.Capacity.Prefixes6 = 200, 2
	_, err := parseFeed(true, rowsOfFeed(300)+"2001:db8:1::/48\n2001:db8:2::/48\n2001:db8:3::/48\n", host)
	f := mustFaults(t, err)
	want := []string{"capacity etc/lists/feed.netset:201:1", "capacity etc/lists/feed.netset:303:1"}
	if diff := cmp.Diff(want, briefs(f.List)); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	for i, text := range []string{"300 IPv4 prefixes, capacity 200", "3 IPv6 prefixes, capacity 2"} {
		if f.List[i].Problem != text {
			t.Errorf("the fault says %q, want %q", f.List[i].Problem, text)
		}
	}
	host.Capacity.Prefixes4, host.Capacity.Prefixes6 = 300, 3
	if _, err := parseFeed(true, rowsOfFeed(300)+"2001:db8:1::/48\n2001:db8:2::/48\n2001:db8:3::/48\n", host); err != nil {
		t.Errorf("exactly the capacity is refused: %v", err)
	}
}

// Rows that are left out take no room.
func TestCapacityCountsWhatIsKept(t *testing.T) {
	host := testHost()
	host.Capacity.Prefixes4 = 3
	b, err := parseFeed(true, rowsOfFeed(3)+"10.0.0.1\n192.0.2.1\n", host)
	if err != nil || b.OmittedReserved != 1 || b.OmittedProtected != 1 {
		t.Errorf("three rows and two that are left out, capacity 3: %v", err)
	}
}

func TestOtherCapacities(t *testing.T) {
	host := testHost()
	host.Capacity.Rules, host.Capacity.TCPFingerprints = 1, 1
	_, err := ParseBundle("bundle.yaml",
		[]byte(rulesAB+"  tcp:\n    - {rule: a, muonfp: '1:::'}\n    - {rule: b, muonfp: '2:::'}\n"), nil, host, testOptions)
	want := []string{"capacity bundle.yaml:4:3", "capacity bundle.yaml:8:5"}
	if diff := cmp.Diff(want, briefs(mustFaults(t, err).List)); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

// rowsOfFeed returns n different rows of 203.0.113.0/24 and 198.51.100.0/24 and onwards, one a line.
func rowsOfFeed(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "198.%d.%d.%d\n", 32+i>>16, i>>8&255, i&255)
	}
	return b.String()
}

// The two files of 18 November 2025: every row duplicated, and twice the capacity.
func TestNovember18(t *testing.T) {
	host := testHost()
	host.Capacity.Prefixes4 = 200
	good := rowsOfFeed(200)
	stable, err := parseFeed(true, good, host)
	if err != nil {
		t.Fatal(err)
	}

	_, err = parseFeed(true, good+good, host)
	f := mustFaults(t, err)
	if f.Counts[yaml.CodeDuplicate] != 200 || f.Counts[yaml.CodeCapacity] != 1 || f.Total != 201 {
		t.Errorf("every row twice: %v, want 200 duplicates and one capacity fault", f.Counts)
	}
	text := f.Error()
	for _, want := range []string{"400 IPv4 prefixes, capacity 200",
		"198.32.0.0/32 is in the list feed a second time; the first is in line 1", "and 181 more: 181 duplicate"} {
		if !strings.Contains(text, want) {
			t.Errorf("the message does not say %q:\n%s", want, text)
		}
	}

	_, err = parseFeed(true, rowsOfFeed(400), host)
	if f := mustFaults(t, err); f.Total != 1 || !f.Has(yaml.CodeCapacity) {
		t.Errorf("twice the capacity: %v, want one capacity fault", f.Counts)
	}

	// Far beyond all capacity the rows are only counted.
	_, err = parseFeed(true, rowsOfFeed(60_000), host)
	if f := mustFaults(t, err); f.Total != 1 || f.List[0].Problem != "60000 IPv4 prefixes, capacity 200" {
		t.Errorf("300 times the capacity: %v", err)
	}
	if again, err := parseFeed(true, good, host); err != nil || again.Digest != stable.Digest {
		t.Errorf("the good file is no longer what it was: %v", err)
	}
}

func TestDuplicateOverTwoFilesNamesBoth(t *testing.T) {
	_, err := ParseBundle("bundle.yaml",
		[]byte(rulesAB+"  prefixes:\n    - {list: x, rule: a, file: one}\n    - {list: x, rule: b, file: two}\n"),
		files("one", "# x\n198.51.100.0/24\n", "two", "198.51.100.0/24\n"), testHost(), testOptions)
	f := mustFaults(t, err)
	if f.Total != 1 || brief(f.List[0]) != "duplicate two:1:1" || !strings.Contains(f.List[0].Problem, "one:2") {
		t.Errorf("got %v, want a duplicate at two:1:1 that names one:2", err)
	}
}

func TestSameRowInTwoListsIsNoDuplicate(t *testing.T) {
	b := mustBundle(t, rulesAB+own+"    - {list: other, rule: b, entries: [198.51.100.0/24]}\n", nil)
	if len(b.Prefixes) != 2 {
		t.Errorf("got %d lists, want 2", len(b.Prefixes))
	}
}

// From the disk: what leads out of the folder is refused, also by links; what is no plain file is never opened.
func TestLoadBundleStaysInItsFolder(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "in", "lists"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("secret", "198.51.100.0/24\n")
	write("in/bundle.yaml", fmt.Sprintf(feedBundle, true))
	feed := filepath.Join(dir, "in", "lists", "feed.netset")
	for _, c := range []struct {
		name string
		make func() error
		want string
	}{
		{"link out", func() error { return os.Symlink("../../secret", feed) }, "outside of the bundle's folder"},
		{"absolute link", func() error { return os.Symlink(filepath.Join(dir, "secret"), feed) },
			"outside of the bundle's folder"},
		{"pipe", func() error { return syscall.Mkfifo(feed, 0o644) }, "not a regular file"},
		{"folder", func() error { return os.Mkdir(feed, 0o755) }, "not a regular file"},
		{"too long", func() error { write("in/lists/feed.netset", ""); return os.Truncate(feed, yaml.MaxListBytes+1) },
			"at most 256 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.make(); err != nil {
				t.Fatal(err)
			}
			_, err := LoadBundle(filepath.Join(dir, "in"), nil, testOptions)
			f := mustFaults(t, err)
			if f.Total != 1 || f.List[0].Code != yaml.CodeFile || f.List[0].Line != 7 || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want one file fault in line 7 that says %q", err, c.want)
			}
			if err := os.Remove(feed); err != nil {
				t.Fatal(err)
			}
		})
	}
	if err := os.Symlink("real", feed); err != nil {
		t.Fatal(err)
	}
	write("in/lists/real", "198.51.100.0/24\n")
	if _, err := LoadBundle(filepath.Join(dir, "in", "bundle.yaml"), nil, testOptions); err != nil {
		t.Errorf("a link inside of the folder is refused: %v", err)
	}
}

func TestLoadOfMissingFiles(t *testing.T) {
	for name, load := range map[string]func() error{
		"host":             func() error { _, err := LoadHost("testdata/none.yaml"); return err },
		"host in a folder": func() error { _, err := LoadHost("examples/none.yaml"); return err },
		"bundle":           func() error { _, err := LoadBundle("examples/none.yaml", nil, testOptions); return err },
		"bundle's folder":  func() error { _, err := LoadBundle("none/none.yaml", nil, testOptions); return err },
	} {
		err := load()
		if f := mustFaults(t, err); f.Total != 1 || f.List[0].Code != yaml.CodeFile || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, want one file fault and fs.ErrNotExist", name, err)
		}
	}
}

func TestYAMLTooLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bundle.yaml")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{yaml.MaxBytes + 1, yaml.MaxListBytes + 1} {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		_, err := LoadBundle(path, nil, testOptions)
		if f := mustFaults(t, err); f.Total != 1 || !f.Has(yaml.CodeFile) {
			t.Errorf("%d bytes: got %v, want one file fault", size, err)
		}
	}
}
