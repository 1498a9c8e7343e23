// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config/yaml"
)

// compareAddresses lets cmp look at addresses, which hide their fields.
var compareAddresses = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

var testNow = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

// testHost is a host with one service, web, and two protected prefixes.
func testHost() *Host {
	h := DefaultHost()
	h.Interfaces = []Interface{{Name: "eth0", Attach: AttachNative}}
	h.Services = []Service{{Name: "web", Addresses: []Address{{}}, Port: 443, Kind: KindTLS, Local: true}}
	h.Allowlist = []AllowEntry{
		{Prefix: netip.MustParsePrefix("192.0.2.0/28"), Note: "office"},
		{Prefix: netip.MustParsePrefix("2001:db8:a::/64")},
	}
	return h
}

var testOptions = BundleOptions{Own: []netip.Addr{netip.MustParseAddr("198.18.0.1")}, Now: testNow}

// files makes a file system from names and contents.
func files(pairs ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1]), Mode: 0o644}
	}
	return fsys
}

func mustBundle(t testing.TB, text string, fsys fstest.MapFS) *Bundle {
	t.Helper()
	b, err := ParseBundle("bundle.yaml", []byte(text), fsys, testHost(), testOptions)
	if err != nil {
		t.Fatalf("parse bundle:\n%v", err)
	}
	return b
}

func mustFaults(t testing.TB, err error) *yaml.Faults {
	t.Helper()
	var f *yaml.Faults
	if !errors.As(err, &f) {
		t.Fatalf("got error %v, want faults", err)
	}
	return f
}

// brief returns what a test names of a fault: code and place.
func brief(f yaml.Fault) string {
	return fmt.Sprintf("%s %s:%d:%d", f.Code, f.File, f.Line, f.Column)
}

func briefs(list []yaml.Fault) []string {
	out := []string{}
	for _, f := range list {
		out = append(out, brief(f))
	}
	return out
}
