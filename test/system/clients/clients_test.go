// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	utls "github.com/refraction-networking/utls"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config/catalogue"
	"github.com/spillway/spillway/test/support/world"
)

// client is one row: a program and how to let it visit every target once.
type client struct {
	name  string
	needs string // the program that must be installed; "" when it is part of this test
	run   func(*program) string
	// stable is how many stable JA4 to expect: one by name and one by address, however many JA4 there are, for the stable
	// one is the same for a resumed session. 0: any number, for a client that throws dice.
	stable int
	// known is the name and version of this very client in the catalogue; "" when the version is the machine's.
	known string
}

var clients = []client{
	{"curl", "curl", curl, 2, ""},
	{"wget", "wget", wget, 2, ""},
	{"openssl s_client", "openssl", openssl, 2, ""},
	{"python http.client", "/usr/bin/python3", python, 2, ""},
	{"node https", "node", node, 2, ""},
	{"node fetch", "node", fetch, 2, ""},
	{"go net/http", "", goHTTP, 2, ""},
	{"go net/http resumed", "", goResumed, 2, ""},
	{"utls chrome 133", "", mimic(utls.HelloChrome_133), 2, "uTLS as Chrome 133 1.8.2"},
	{"utls firefox 120", "", mimic(utls.HelloFirefox_120), 2, "uTLS as Firefox 120 1.8.2"},
	{"utls ios 14", "", mimic(utls.HelloIOS_14), 2, "uTLS as iOS 14 1.8.2"},
	{"utls edge 85", "", mimic(utls.HelloEdge_85), 2, "uTLS as Edge 85 1.8.2"},
	{"utls randomized", "", mimic(utls.HelloRandomized), 0, ""},
	{"chromium", "chromium", chromium, 2, ""},
	{"firefox", "firefox-esr", firefox, 2, ""},
}

func TestRealClients(t *testing.T) {
	known, err := catalogue.Load()
	world.Must(t, err)
	w := world.New(t)
	w.Publish(w.Host, world.Bundle(nil, nil))
	r := startRecorder(t, w)
	events, all := readEvents(t, w), spoken{}
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			if c.needs != "" {
				need(t, c.needs)
			}
			r.take()
			begin := time.Now()
			mustBeServed(t, c.run(&program{t: t, lab: w.Lab, certificate: r.certificate, home: t.TempDir()}))
			seen, empty := r.take()
			t.Logf("%d connections (%d without a word) in %v", len(seen), empty, time.Since(begin).Round(time.Millisecond))
			for client, said := range check(t, c, seen, kernelFlows(t, w), known) {
				all[client] = append(all[client], said...)
			}
		})
	}
	events.compare(t, all)
}

// need skips a client that is not installed; CI has them all.
func need(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("left out: %s is not installed", name)
}

// spoken is what came from an address and port; more than one ClientHello where a port was used again.
type spoken map[netip.AddrPort][]fingerprint

// check compares what the dataplane and the catalogue say of every connection with its bytes, which it returns.
func check(t *testing.T, c client, seen []connection, flows map[netip.AddrPort]bpf.Flow,
	known *catalogue.Catalogue) spoken {
	t.Helper()
	if len(seen) < len(hosts()) {
		t.Errorf("%d connections were recorded, want %d", len(seen), len(hosts()))
	}
	all := spoken{}
	counts, stable := map[fingerprint]int{}, map[string]bool{}
	for _, conn := range seen {
		if f, ok := fingerprintOf(t, conn); ok {
			all[conn.client] = append(all[conn.client], f)
			counts[f]++
			stable[f.stable] = true
		}
	}
	for client, said := range all {
		compareWithKernel(t, flows, client, said[len(said)-1])
	}
	for _, f := range slices.SortedFunc(maps.Keys(counts), func(a, b fingerprint) int { return counts[b] - counts[a] }) {
		names := namesOf(known.ByJA4(f.ja4))
		t.Logf("%3d × %s, stable %s, known as %q\n%s", counts[f], f.ja4, f.stable, names, f.raw)
		if c.known != "" && !slices.Contains(names, c.known) {
			t.Errorf("the catalogue knows %s as %q, and %s is missing", f.ja4, names, c.known)
		}
	}
	if c.stable > 0 && len(stable) != c.stable {
		t.Errorf("%d different stable JA4, want %d: %v", len(stable), c.stable, slices.Sorted(maps.Keys(stable)))
	}
	return all
}

func namesOf(clients []catalogue.KnownClient) []string {
	names := []string{}
	for _, c := range clients {
		names = append(names, c.Name+" "+c.Versions)
	}
	return names
}
