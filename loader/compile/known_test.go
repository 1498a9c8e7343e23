// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/catalogue"
	"github.com/spillway/spillway/config/signature"
)

func loaded(t *testing.T) (*catalogue.Catalogue, *known) {
	t.Helper()
	c, err := catalogue.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c, newKnown(c)
}

// The catalogue fits into the rows that are kept for it, and into the numbers of the kernel.
func TestTheCatalogueFits(t *testing.T) {
	c, k := loaded(t)
	if len(k.hellos) == 0 || len(k.hellos) > knownJA4sMax || len(k.layouts) == 0 || len(k.layouts) > knownLayoutsMax {
		t.Errorf("%d hellos and %d layouts", len(k.hellos), len(k.layouts))
	}
	if len(tlsFamilies) > int(bpf.TLSFamilies) || len(c.Clients) > kindsMax {
		t.Errorf("%d families of TLS, %d clients", len(tlsFamilies), len(c.Clients))
	}
	for _, client := range c.Clients {
		if !slices.Contains(tlsFamilies[1:], client.Family) {
			t.Errorf("%s: the kernel has no family %q", client.Name, client.Family)
		}
	}
	for _, s := range c.Stacks {
		if tcpFamilies[s.Family] == 0 {
			t.Errorf("%s: the kernel has no family %q", s.Name, s.Family)
		}
	}
	for _, h := range k.hellos {
		if h.family == 0 {
			t.Errorf("%s is of two families", h.ja4)
		}
	}
}

// lookup is what the program finds for a ClientHello: match_ja4 of bpf/features.h.
func lookup(table *rows[bpf.JA4Key, uint32], h knownHello) uint32 {
	for _, form := range bpf.JA4Forms {
		if i := slices.Index(table.keys, formOf(uint8(form), h)); i >= 0 {
			return table.values[i]
		}
	}
	return 0
}

// The rows of the catalogue hide no feature: whatever features a bundle has, each known ClientHello meets the rules
// that it met without them.
func TestKnownHellosHideNoFeature(t *testing.T) {
	_, k := loaded(t)
	r := rand.New(rand.NewPCG(12, 0))
	open := func(j signature.JA4) signature.JA4 {
		mask := 1 + r.IntN(7)
		for i, part := range []*string{&j.A, &j.B, &j.C} {
			if mask>>i&1 == 0 {
				*part = ""
			}
		}
		return j
	}
	families := 0
	for range 200 {
		b := &config.Bundle{Version: 1, Policy: map[string]config.Policy{}}
		seen := map[string]bool{}
		for i := range 1 + r.IntN(6) {
			h := k.hellos[r.IntN(len(k.hellos))]
			f := config.JA4Feature{Rule: fmt.Sprint("r", i), Match: open(h.ja4)}
			if h.stable != (signature.JA4{}) && r.IntN(2) == 0 {
				f.Stable, f.Match = true, open(h.stable)
			}
			if seen[f.String()] {
				continue
			}
			seen[f.String()] = true
			b.Rules, b.JA4 = append(b.Rules, config.Rule{ID: f.Rule, Score: i + 1}), append(b.JA4, f)
		}
		slices.SortFunc(b.JA4, func(x, y config.JA4Feature) int { return strings.Compare(x.String(), y.String()) })
		plain, err := Bundle(b, emptyHost(), 1, Clock{})
		if err != nil {
			t.Fatal(err)
		}
		b.Pairs = []config.PairFeature{{Rule: "r0", TCP: "raw", TLS: "chrome"}}
		with, err := Bundle(b, emptyHost(), 1, Clock{})
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range k.hellos {
			was, is := lookup(ja4s.of(plain), h), lookup(ja4s.of(with), h)
			if was != 0 != (is&0xffff != 0) || was != 0 && plain.nodes[was].Rule != with.nodes[is&0xffff].Rule {
				t.Fatalf("%s: node %d without the catalogue, %d with it; features %v", h.ja4, was, is&0xffff, b.JA4)
			}
			if is>>bpf.ValueFamily&0xff != 0 {
				families++
			}
		}
	}
	if families == 0 {
		t.Error("no ClientHello had a family")
	}
}

// A SYN that several families send is of each of them, and each pair has its own rules.
func TestPairsAreResolved(t *testing.T) {
	b := &config.Bundle{Version: 1, Policy: map[string]config.Policy{},
		Rules: []config.Rule{{ID: "a", Score: 1}, {ID: "b", Score: 2}},
		Features: config.Features{Pairs: []config.PairFeature{{Rule: "a", TCP: "linux", TLS: "safari"},
			{Rule: "b", TCP: "android", TLS: "safari"}}}}
	img, err := Bundle(b, emptyHost(), 1, Clock{})
	if err != nil {
		t.Fatal(err)
	}
	scoreOf := func(tcp uint8, tls string) (sum int) {
		at := int(tcp)*int(bpf.TLSFamilies) + slices.Index(tlsFamilies[:], tls)
		for n := img.generation.Pairs[at]; n != 0; n = img.nodes[n].Next {
			sum += int(img.nodes[n].Score)
		}
		return sum
	}
	for name, c := range map[string]struct{ got, want int }{
		"linux":            {scoreOf(uint8(bpf.FamilyLinux), "safari"), 1},
		"android":          {scoreOf(uint8(bpf.FamilyAndroid), "safari"), 2},
		"linux or android": {scoreOf(uint8(bpf.FamilyLinux|bpf.FamilyAndroid), "safari"), 3},
		"windows":          {scoreOf(uint8(bpf.FamilyWindows), "safari"), 0},
		"another client":   {scoreOf(uint8(bpf.FamilyLinux), "chrome"), 0},
		"nobody's SYN":     {scoreOf(0, "safari"), 0},
	} {
		if c.got != c.want {
			t.Errorf("%s: score %d, want %d", name, c.got, c.want)
		}
	}
	linux := layoutKey(4, must(signature.ParseP0F("4:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0")))
	table := layouts.of(img)
	i := slices.Index(table.keys, linux)
	if i < 0 || table.values[i].Families[0] != uint8(bpf.FamilyLinux|bpf.FamilyAndroid) {
		t.Errorf("the layout of Linux has the families %v", table.values[max(i, 0)].Families)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
