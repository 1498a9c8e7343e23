// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/spillway/spillway/config/signature"
)

// A person finds a rule by what it matches.
func TestMatchedSaysWhatARuleMatches(t *testing.T) {
	one, err := signature.ParseJA4("t13d1516h2_8daaf6152771_02713d6af862")
	if err != nil {
		t.Fatal(err)
	}
	b := &Bundle{Rules: []Rule{{ID: "both"}, {ID: "ja4"}, {ID: "list"}, {ID: "none"}},
		Prefixes: []PrefixList{{List: "daily", Rule: "both"}, {List: "daily", Rule: "list",
			Entries: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")}}},
		Features: Features{JA4: []JA4Feature{{Rule: "ja4", Match: one}, {Rule: "both", Match: one, Stable: true}}}}
	want := []string{"prefix list daily and 1 more", "ja4 t13d1516h2_8daaf6152771_02713d6af862", "prefix list daily", ""}
	if got := b.Matched(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
