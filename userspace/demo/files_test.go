// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/yaml"
	"github.com/spillway/spillway/userspace/lab"
)

// testHost writes the demo's files into a folder and loads the host file.
func testHost(t *testing.T) (*workspace, *config.Host) {
	t.Helper()
	w := &workspace{dir: t.TempDir()}
	if err := w.writeHost(config.ModeEnforce, "edge0"); err != nil {
		t.Fatal(err)
	}
	if err := writeBundles(w.dir, testKnown(t)); err != nil {
		t.Fatal(err)
	}
	h, err := config.LoadHost(w.path(hostFile))
	if err != nil {
		t.Fatal(err)
	}
	return w, h
}

func testKnown(t *testing.T) known {
	t.Helper()
	k, err := loadKnown()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestFilesAreWhatTheActsNeed(t *testing.T) {
	w, h := testHost(t)
	if h.MaxMode != config.ModeEnforce || h.Capacity.Prefixes4 != capacity || h.Paths.Pins != w.pins() {
		t.Errorf("host file: %+v", h)
	}
	own := config.BundleOptions{Own: []netip.Addr{lab.EdgeAddr4, lab.EdgeAddr6}}
	for _, name := range []string{bundleFile, ja4File, limitFile, mistakeFile} {
		b, err := config.LoadBundle(w.path(name), h, own)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(b.Warnings) > 0 {
			t.Errorf("%s: warnings %v", name, b.Warnings)
		}
	}
	for _, c := range []struct {
		name, code string
		faults     int
	}{{doubledFile, yaml.CodeDuplicate, doubledRows}, {tooBigFile, yaml.CodeCapacity, 1}} {
		_, err := config.LoadBundle(w.path(c.name), h, own)
		var faults *yaml.Faults
		if !errors.As(err, &faults) {
			t.Errorf("%s: %v, want faults", c.name, err)
			continue
		}
		if faults.Counts[c.code] != c.faults || faults.Total != c.faults {
			t.Errorf("%s: faults %v, want %d of %s", c.name, faults.Counts, c.faults, c.code)
		}
		t.Logf("%s:\n%v", c.name, err)
	}
}

// Neither an old Chrome nor a Linux is enough for a drop, and both are; only Python is reset.
func TestScoresAreWhatTheDemoSays(t *testing.T) {
	w, h := testHost(t)
	b, err := config.LoadBundle(w.path(ja4File), h, config.BundleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	score := map[string]int{}
	for _, r := range b.Rules {
		score[r.ID] = int(r.Score)
	}
	limited, err := config.LoadBundle(w.path(limitFile), h, config.BundleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	limit := limited.Policy[config.DefaultPolicy]
	if got := limit.Rate; got.Burst != limitBurst || got.Connections.Interval() != limitInterval ||
		got.By != config.LimitByPrefix {
		t.Errorf("the rate is %s", got)
	}
	for _, r := range limited.Rules {
		score["with a limit "+r.ID] = int(r.Score)
	}
	const drop, reset = 80, 95
	for _, c := range []struct {
		who       string
		sum       int
		low, high int
	}{
		{"an old Chrome", score["old-chrome"], 1, drop - 1},
		{"a visitor on Linux", score["linux"], 1, drop - 1},
		{"uTLS on Linux", score["old-chrome"] + score["linux"], drop, reset - 1},
		{"Go", score["go-http"], drop, reset - 1},
		{"Go on Linux", score["go-http"] + score["linux"], drop, reset - 1},
		{"Go on Linux, limited", score["with a limit go-http"] + score["linux"], int(limit.Limit), drop - 1},
		{"Go alone, limited", score["with a limit go-http"], int(limit.Limit), drop - 1},
		{"a visitor on Linux beside it", score["linux"], 1, int(limit.Tag) - 1},
		{"Python on Linux", score["python"] + score["linux"], reset, 100},
	} {
		if c.sum < c.low || c.sum > c.high {
			t.Errorf("%s: score %d, want %d to %d", c.who, c.sum, c.low, c.high)
		}
	}
	if got := len(b.JA4); got != len(botRules) {
		t.Errorf("%d JA4 features for %d bots", got, len(botRules))
	}
}

func TestFeedIsAnotherBundleEachTime(t *testing.T) {
	w, h := testHost(t)
	seen := map[config.Digest]bool{}
	for attempt := 1; attempt <= killAttempts; attempt++ {
		file, digest, err := w.writeFeed(attempt, testKnown(t))
		if err != nil {
			t.Fatal(err)
		}
		b, err := config.LoadBundle(w.path(file), h, config.BundleOptions{Own: []netip.Addr{lab.EdgeAddr4, lab.EdgeAddr6}})
		if err != nil {
			t.Fatal(err)
		}
		if b.Digest != digest || seen[digest] {
			t.Errorf("attempt %d: digest %s, was told %s, seen before: %v", attempt, b.Digest, digest, seen[digest])
		}
		seen[digest] = true
	}
}

func TestPrefixesDifferAndSpareTheLab(t *testing.T) {
	seen := map[netip.Prefix]bool{}
	for p := range prefixes(2 * capacity) {
		if seen[p] || p != p.Masked() {
			t.Fatalf("%s: twice, or with host bits", p)
		}
		seen[p] = true
		for _, inhabited := range []netip.Prefix{lab.VisitorPrefix4, lab.CrawlerPrefix4, lab.ScannerPrefix4} {
			if p.Overlaps(inhabited) {
				t.Fatalf("%s overlaps %s", p, inhabited)
			}
		}
		if p.Contains(lab.EdgeAddr4) || p.Contains(lab.OutAddr4) {
			t.Fatalf("%s contains an address of the link", p)
		}
	}
	if len(seen) != 2*capacity {
		t.Errorf("%d prefixes, want %d", len(seen), 2*capacity)
	}
}

func TestMapIDs(t *testing.T) {
	const info = "pos:\t0\nflags:\t02000002\nmnt_id:\t16\nino:\t9220\nmap_type:\t11\nkey_size:\t8\nvalue_size:\t4\n" +
		"max_entries:\t90000\nmap_flags:\t0x1\nmap_extra:\t0x0\nmemlock:\t5760\nmap_id:\t77\nfrozen:\t0\n"
	if got, ok := parseMapID([]byte(info)); !ok || got != 77 {
		t.Errorf("got %d, %v", got, ok)
	}
	if _, ok := parseMapID([]byte("pos:\t0\nflags:\t0100000\nmnt_id:\t30\n")); ok {
		t.Error("an ordinary file passes for a map")
	}
	own := openMaps(os.Getpid())
	if len(own) != 0 {
		t.Errorf("this process has no maps, got %v", own)
	}
}

// exists says whether anything has this name.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
