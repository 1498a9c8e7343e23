// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/fetch"
)

// samples are lists of the shapes that publishers have.
const samples = "../../config/feed/testdata/samples"

// What probe prints is what a bundle takes, with the same rows.
func TestProbedBlocksLoad(t *testing.T) {
	s := newShell(t)
	if err := os.Mkdir(filepath.Join(s.dir, "lists"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"drop.txt": "plain", "drop.jsonl": "json", "aws.json": "json", "azure.json": "json", "crawler.json": "json",
		"github.json": "json", "level.netset": "plain", "block.txt": "ranges", "exits.txt": "plain", "tracker.csv": "csv",
		"tabs.txt": "ranges", "dashes.txt": "ranges", "semicolons.csv": "csv", "counts.txt": "csv", "addresses.json": "json",
	} {
		data, err := os.ReadFile(filepath.Join(samples, name))
		if err != nil {
			t.Fatal(err)
		}
		s.write("lists/"+name, string(data))
		s.want(exitOK, "lists", "probe", filepath.Join(s.dir, "lists", name), "-o", "json")
		var found foundList
		if err := json.Unmarshal([]byte(s.stdout), &found); err != nil || string(found.Format) != want || !found.Whole {
			t.Errorf("%s: format %s, want %s: %v", name, found.Format, want, err)
			continue
		}
		text := "version: 1\nname: t\nrules: [{id: listed, label: l, score: 9}]\nfeatures:\n  prefixes:\n    " +
			strings.Join(found.Block, "\n    ") + "\n"
		b, err := config.LoadBundle(s.write("probed.yaml", text), nil, config.BundleOptions{Now: now})
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
			continue
		}
		if v4, v6 := b.PrefixCount(); v4 != found.IPv4 || v6 != found.IPv6 {
			t.Errorf("%s: %d and %d prefixes, probe said %d and %d", name, v4, v6, found.IPv4, found.IPv6)
		}
	}
	s.want(exitOK, "lists", "probe", filepath.Join(samples, "tracker.csv"))
	golden(t, "lists-probe", s.stdout)
	s.want(exitOK, "lists", "probe", filepath.Join(samples, "aws.json"))
	golden(t, "lists-probe-duplicates", s.stdout)
}

func TestProbeNamesWhatIsNoList(t *testing.T) {
	s := newShell(t)
	pipe, secret := filepath.Join(s.dir, "pipe"), filepath.Join(s.dir, "secret")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(secret, nil, 0); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"error.html": "HTML", "list.gz": "gzip", "utf16.txt": "UTF-16", "utf16le.txt": "UTF-16", "p2p.txt": "p2p list",
		"asns.txt": "number of a network", "names.txt": "name of a host", "pairs.txt": "two addresses in a line",
		"masks.txt": "netmask", "empty.txt": "no row",
		"comments.txt": "no row", "none.txt": "no such file", ".": "not a regular file", pipe: "not a regular file",
	} {
		if !filepath.IsAbs(name) {
			name = filepath.Join(samples, name)
		}
		s.want(exitError, "lists", "probe", name)
		s.wantErr(want)
		s.wantErr(strings.ReplaceAll(name, s.dir, "DIR"))
	}
	if os.Geteuid() != 0 {
		s.want(exitError, "lists", "probe", secret)
		s.wantErr("may not be read")
	}
	s.want(exitUsage, "lists", "prob", "x")
	s.wantErr("probe")
	s.want(exitUsage, "lists", "probe")
}

func TestProbeOfURLs(t *testing.T) {
	s := newShell(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/Lists/My%20DROP.txt", "/Lists/My DROP.txt":
			fmt.Fprint(w, "198.51.100.0/24 ; one\n203.0.113.0/24 ; two\n")
		case "/large":
			for i := range 200_000 {
				fmt.Fprintf(w, "198.%d.%d.%d\n", i>>16, i>>8&255, i&255)
			}
		case "/page":
			fmt.Fprint(w, "<!doctype html><title>Sign in</title>")
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	s.want(exitError, "lists", "probe", server.URL+"/large")
	s.wantErr("not a public address")
	s.env.fetch = fetch.Options{Allowed: func(netip.Addr) bool { return true }, Timeout: time.Minute}
	s.want(exitOK, "lists", "probe", server.URL+"/Lists/My%20DROP.txt")
	s.wantOut("format plain; in all of it 2 rows, 2 IPv4 and 0 IPv6")
	s.wantOut("    - list: my-drop\n")
	s.wantOut("      file: lists/my-drop.txt\n")
	s.want(exitOK, "lists", "probe", server.URL+"/large")
	s.wantOut("in its first MiB ")
	s.want(exitError, "lists", "probe", server.URL+"/page")
	s.wantErr("HTML")
	s.want(exitError, "lists", "probe", server.URL+"/none")
	s.wantErr("404 Not Found")
	s.want(exitError, "lists", "probe", "ftp://example.com/list")
	s.wantErr("only https and http")
}
