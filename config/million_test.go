// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/fstest"

	"github.com/spillway/spillway/config/yaml"
)

const million = 1_000_000

// millionRows returns a list file of n different addresses and prefixes in an order that is not sorted. Multiplication
// by an odd number modulo 2^22 visits each number once.
func millionRows(n int) []byte {
	out := make([]byte, 0, n*18)
	for i := range n {
		k := uint32(i) * 2_654_435_761 & (1<<22 - 1)
		addr := netip.AddrFrom4([4]byte{32 + byte(k>>16), byte(k >> 8), byte(k), 0})
		out = append(netip.PrefixFrom(addr, 24).AppendTo(out), '\n')
	}
	return out
}

func millionHost() *Host {
	host := testHost()
	host.Capacity.Prefixes4 = million
	return host
}

func parseMillion(t testing.TB, feed []byte) (*Bundle, error) {
	t.Helper()
	fsys := fstest.MapFS{"lists/feed.netset": {Data: feed}}
	return ParseBundle("bundle.yaml", fmt.Appendf(nil, feedBundle, true), fsys, millionHost(), testOptions)
}

func TestMillionRows(t *testing.T) {
	feed := millionRows(million)
	b, err := parseMillion(t, feed)
	if err != nil {
		t.Fatal(err)
	}
	if v4, _ := b.PrefixCount(); v4 != million {
		t.Fatalf("%d rows, want %d", v4, million)
	}
	again, err := ParseCanonical(Canonical(b))
	if err != nil || again.Digest != b.Digest {
		t.Fatalf("canonical form does not come back: %v", err)
	}
	if d := Change(b, again); d.Len() != 0 {
		t.Errorf("%d differences to the canonical form", d.Len())
	}

	_, err = parseMillion(t, append(feed, feed...))
	f := mustFaults(t, err)
	if f.Counts[yaml.CodeDuplicate] != million || f.Counts[yaml.CodeCapacity] != 1 || len(f.List) > 2*yaml.KeptPerCode {
		t.Errorf("a million rows twice: %v, %d kept", f.Counts, len(f.List))
	}
}

func BenchmarkMillionRows(b *testing.B) {
	feed := millionRows(million)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseMillion(b, feed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMillionParseCanonical(b *testing.B) {
	bundle, err := parseMillion(b, millionRows(million))
	if err != nil {
		b.Fatal(err)
	}
	data := Canonical(bundle)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseCanonical(data); err != nil {
			b.Fatal(err)
		}
	}
}
