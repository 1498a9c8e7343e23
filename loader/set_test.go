// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"testing"

	"github.com/spillway/spillway/config"
)

const (
	setEdge = "version: 1\nname: edge\nrules: [{id: a, label: a, score: 50}]\nfeatures:\n" +
		"  prefixes: [{list: l, rule: a, entries: [198.51.100.0/24]}]\n" +
		"  tcp: [{rule: a, muonfp: '1024:2:1460:'}]\n  ja4: [{rule: a, match: t13d1516h2_*_*}]\n" +
		"  p0f: [{rule: a, signature: '4:64:0:*:*,*:mss::0'}]\n" +
		"  reasons: [{rule: a, reason: fragment}]\npolicy: {default: {drop: 80}}\n"
	setFeed = "version: 1\nname: feed\n" +
		"rules: [{id: a, label: a, score: 20}, {id: b, label: b, score: 10}]\nfeatures:\n" +
		"  prefixes: [{list: l, rule: a, entries: [198.51.100.0/25]}]\n" +
		"  tcp: [{rule: a, muonfp: '1024:2:1460:'}]\n" +
		"  ja4: [{rule: a, match: t13d1516h2_8daaf6152771_*}]\n" +
		"  p0f: [{rule: b, signature: '4:64:0:*:*,*:mss::0'}]\n" +
		"  reasons: [{rule: b, reason: fragment}]\n"
	setMore = "version: 1\nname: more\nrules: [{id: a, label: a, score: 20}]\nfeatures:\n" +
		"  prefixes: [{list: l, rule: a, entries: [198.51.100.0/26]}]\n"
)

func mergedSet(t *testing.T, texts ...string) *config.Bundle {
	t.Helper()
	s := config.NewSet()
	for _, text := range texts {
		b, err := config.ParseBundle("b.yaml", []byte(text), nil, testHost(), config.BundleOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s = s.With(b)
	}
	if err := s.Check(testHost()); err != nil {
		t.Fatal(err)
	}
	return s.Merge()
}

// Each bundle alone stays below the threshold; a source that all of their lists name does not.
func TestSetOverTraffic(t *testing.T) {
	d := openTest(t, Options{})
	publish(t, d, testHost(), mergedSet(t, setEdge, setFeed, setMore))
	wantAction(t, d, "in three lists", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
	wantAction(t, d, "in two lists", syn("198.51.100.100", "192.0.2.1", 443), xdpPass)
	publish(t, d, testHost(), mergedSet(t, setEdge, setFeed))
	wantAction(t, d, "in two lists that are left", syn("198.51.100.1", "192.0.2.1", 443), xdpPass)
}
