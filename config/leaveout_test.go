// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config/yaml"
)

const a15Feed = "192.0.2.0/29\n192.0.2.3\n198.18.0.1\n198.51.100.0/24\n203.0.113.7\n2001:db8:a::7\n2001:db8:bad::/48\n"

// The digest is the author's. It depended on the host: one more line of an allowlist made another bundle of it, which
// passed the quarantine and had another canary.
func TestF15DigestIsTheAuthors(t *testing.T) {
	plain := testHost()
	plain.Allowlist = nil
	guarded := testHost()
	guarded.Allowlist = append(guarded.Allowlist, AllowEntry{Prefix: netip.MustParsePrefix("203.0.113.0/24")})
	var digests []Digest
	for _, host := range []*Host{plain, testHost(), guarded} {
		b, err := parseFeed(true, a15Feed, host)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, b.Digest)
	}
	if digests[0] != digests[1] || digests[1] != digests[2] {
		t.Errorf("three allowlists make three bundles of one: %v", digests)
	}
}

func TestF15WhatAHostCompilesHasADigestOfItsOwn(t *testing.T) {
	author, err := parseFeed(true, a15Feed, testHost())
	if err != nil {
		t.Fatal(err)
	}
	here, because := author.LeaveOut(Protected(testHost(), testOptions.Own))
	if here.Digest != author.Digest || here.Compiled == author.Digest || here.OmittedProtected != 4 ||
		author.OmittedProtected != 4 {
		t.Errorf("left out %d of %d, digest %s, compiled %s", here.OmittedProtected, author.OmittedProtected,
			here.Digest, here.Compiled)
	}
	if got, want := fmt.Sprint(here.Prefixes[0].Entries),
		"[198.51.100.0/24 203.0.113.7/32 2001:db8:bad::/48]"; got != want {
		t.Errorf("compiled are %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(because), "[192.0.2.0/28 198.18.0.1/32 2001:db8:a::/64]"; got != want {
		t.Errorf("left out because of %s, want %s", got, want)
	}
	if again, _ := author.LeaveOut(because); again.Compiled != here.Compiled {
		t.Error("what rows were left out for does not leave the same out again")
	}
	if all, because := author.LeaveOut(nil); all.Compiled != author.Digest || because != nil {
		t.Errorf("nothing is protected, and %d rows are left out because of %v", all.OmittedProtected, because)
	}
	stored, err := ParseCanonical(Canonical(author))
	if err != nil {
		t.Fatal(err)
	}
	fromDisk, _ := stored.LeaveOut(Protected(testHost(), testOptions.Own))
	if diff := cmp.Diff(here.Prefixes, fromDisk.Prefixes, compareAddresses); diff != "" ||
		fromDisk.Compiled != here.Compiled {
		t.Errorf("from disk another is compiled (-loaded +stored):\n%s", diff)
	}
}

// A bundle's own rows are refused where they would block the protected, and are never left out silently.
func TestOwnRowsAreNotLeftOut(t *testing.T) {
	b, err := parseFeed(false, "203.0.113.7\n", testHost())
	if err != nil {
		t.Fatal(err)
	}
	if here, _ := b.LeaveOut([]netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}); len(
		here.Prefixes[0].Entries) != 1 || here.Compiled != b.Digest {
		t.Errorf("left out of an own list: %+v", here.Prefixes)
	}
}

// Far over the capacity rows are counted only. Such a bundle is never taken for whole because others are left out.
func TestCutRowsRefuseTheBundle(t *testing.T) {
	host := testHost()
	host.Capacity.Prefixes4 = 1
	host.Allowlist = []AllowEntry{{Prefix: netip.MustParsePrefix("1.0.0.0/8")}}
	feed := ""
	for i := range 1026 {
		feed += fmt.Sprintf("1.%d.%d.1\n", i/200, i%200)
	}
	if b, err := parseFeed(true, feed, host); err != nil || len(b.Prefixes[0].Entries) != 1026 {
		t.Errorf("1026 rows, all left out: %v", err)
	}
	_, err := parseFeed(true, feed+"1.200.0.1\n", host)
	if f := mustFaults(t, err); f.List[0].Code != yaml.CodeCapacity {
		t.Errorf("a row that was only counted: %v", err)
	}
}
