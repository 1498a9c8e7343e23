// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"net/netip"
	"testing"

	"github.com/spillway/spillway/config"
)

// Hosts with different allowlists hold different rows of one bundle, and the same sources are in its canary.
func TestF15CanaryIsTheSameOnAllHosts(t *testing.T) {
	entries := []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.7/32")}
	b := &config.Bundle{Version: 1, Name: "b", Digest: config.Digest{7, 7, 7}, Rules: []config.Rule{{ID: "r", Score: 90}},
		Prefixes: []config.PrefixList{{List: "feed", Rule: "r", ThirdParty: true, Entries: entries}}}
	host, err := HostFile(config.DefaultHost(), nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	now := testNow()
	image := func(protected ...netip.Prefix) *Image {
		t.Helper()
		here, _ := b.LeaveOut(protected)
		img, err := Bundle(here, host, 1, now)
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	all, some := image(), image(netip.MustParsePrefix("203.0.113.0/24"))
	if a, s := all.generation.Prefixes4, some.generation.Prefixes4; a != 2 || s != 1 {
		t.Errorf("%d and %d rows, want 2 and 1", a, s)
	}
	if all.Digest() != some.Digest() || all.generation.Salt != some.generation.Salt || all.generation.Salt == 0 {
		t.Errorf("digests %s and %s, salts %x and %x", all.Digest(), some.Digest(), all.generation.Salt, some.generation.Salt)
	}
	if all.Compiled() == some.Compiled() || all.Compiled() != b.Digest {
		t.Errorf("compiled %s and %s", all.Compiled(), some.Compiled())
	}
}
