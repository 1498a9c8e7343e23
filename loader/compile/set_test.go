// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"testing"
	"time"

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
)

func mergedSet(t *testing.T, texts ...string) *config.Bundle {
	t.Helper()
	s := config.NewSet()
	for _, text := range texts {
		b, err := config.ParseBundle("b.yaml", []byte(text), nil, config.DefaultHost(), config.BundleOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s = s.With(b)
	}
	if err := s.Check(config.DefaultHost()); err != nil {
		t.Fatal(err)
	}
	return s.Merge()
}

// testNow is a moment an hour after the boot.
func testNow() Clock { return Clock{Wall: time.Now(), MonotonicNS: uint64(time.Hour)} }

// What several bundles name adds up: a sum is one chain of their rules.
func TestSetAddsUp(t *testing.T) {
	host, err := HostFile(config.DefaultHost(), nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	b := mergedSet(t, setEdge, setFeed)
	img, err := Bundle(b, host, 1, testNow())
	if err != nil {
		t.Fatal(err)
	}
	tcp, listed, places := fingerprints.of(img), ja4s.of(img), layouts.of(img)
	sum := func(head uint32) int {
		total := 0
		for head != 0 {
			total += int(img.nodes[head].Score)
			head = uint32(img.nodes[head].Next)
		}
		return total
	}
	if len(tcp.keys) != 1 || sum(tcp.values[0]) != 70 {
		t.Errorf("tcp: %d rows, the first %d; want one of 70", len(tcp.keys), sum(tcp.values[0]))
	}
	got := map[string]int{}
	for i, key := range listed.keys {
		got[formatJA4Key(key)] = sum(listed.values[i])
	}
	if len(got) != 2 || got["t13d1516h2_*_*"] != 50 || got["t13d1516h2_8daaf6152771_*"] != 70 {
		t.Errorf("ja4: %v", got)
	}
	if img.Generation().TcpSignatures != 1 || sum(places.values[0].Candidates[0].Head) != 60 ||
		places.values[0].Candidates[1].Head != 0 {
		t.Errorf("p0f: %d signatures, %+v", img.Generation().TcpSignatures, places.values[0])
	}
	reasons := 0
	for _, head := range img.Generation().Reasons {
		reasons += sum(uint32(head))
	}
	if reasons != 60 {
		t.Errorf("reasons: %d, want 60", reasons)
	}
	if img.Digest() != b.Digest || img.Generation().RuleCount != 3 {
		t.Errorf("digest %s, %d rules", img.Digest(), img.Generation().RuleCount)
	}
}
