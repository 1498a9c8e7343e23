// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
)

// sumFor is the oracle: for one address, the longest match of each list, summed.
func sumFor(a netip.Addr, lists []config.PrefixList, scores map[string]int) int {
	best := map[string]netip.Prefix{}
	rule := map[string]string{}
	for _, l := range lists {
		for _, p := range l.Entries {
			if old, ok := best[l.List]; p.Contains(a) && (!ok || p.Bits() > old.Bits()) {
				best[l.List], rule[l.List] = p, l.Rule
			}
		}
	}
	sum := 0
	for _, r := range rule {
		sum += scores[r]
	}
	return sum
}

// sumFlat looks the address up in what flatten made, as the kernel's trie would.
func sumFlat(a netip.Addr, flat map[netip.Prefix]uint32, c *chains) int {
	for bits := a.BitLen(); bits >= 0; bits-- {
		p, _ := a.Prefix(bits)
		head, ok := flat[p]
		if !ok {
			continue
		}
		sum := 0
		for head != 0 {
			sum += int(c.nodes[head].Score)
			head = uint32(c.nodes[head].Next)
		}
		return sum
	}
	return 0
}

func TestFlattenedListsSumLikeTheOracle(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	scores := map[string]int{}
	var rules []config.Rule
	index := map[string]uint16{}
	for i := range 6 {
		id := fmt.Sprintf("r%d", i)
		scores[id] = 1 << i // every subset has a sum of its own
		rules = append(rules, config.Rule{ID: id, Score: scores[id]})
		index[id] = uint16(i)
	}
	for round := range 200 {
		lists := randomLists(rng)
		c := newChains(&config.Bundle{Rules: rules}, testNow())
		flat := map[netip.Prefix]uint32{}
		if err := flatten(lists, index, c, func(p netip.Prefix, head uint32) { flat[p] = head }); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			a := randomAddr(rng)
			if got, want := sumFlat(a, flat, c), sumFor(a, lists, scores); got != want {
				t.Fatalf("round %d, %s: sum %d, want %d; lists %+v", round, a, got, want, lists)
			}
		}
	}
}

// randomAddr draws from a small space, so that prefixes overlap often.
func randomAddr(rng *rand.Rand) netip.Addr {
	if rng.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{198, 51, byte(rng.IntN(4)), byte(rng.IntN(256))})
	}
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(rng.IntN(3)), byte(rng.IntN(256)), 15: byte(rng.IntN(4))})
}

func randomLists(rng *rand.Rand) []config.PrefixList {
	var lists []config.PrefixList
	seen := map[string][]netip.Prefix{}
	for range 1 + rng.IntN(6) {
		l := config.PrefixList{List: fmt.Sprintf("l%d", rng.IntN(4)), Rule: fmt.Sprintf("r%d", rng.IntN(6))}
		for range rng.IntN(12) {
			a := randomAddr(rng)
			bits := 14 + rng.IntN(19)
			if a.Is6() {
				bits = 24 + rng.IntN(105)
			}
			p, _ := a.Prefix(bits)
			if !slices.Contains(seen[l.List], p) {
				seen[l.List] = append(seen[l.List], p)
				l.Entries = append(l.Entries, p)
			}
		}
		lists = append(lists, l)
	}
	return lists
}

func TestMoreListsThanAddUpAreRefused(t *testing.T) {
	var lists []config.PrefixList
	for i := range 9 {
		lists = append(lists, config.PrefixList{List: fmt.Sprintf("l%d", i), Rule: "r",
			Entries: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	}
	c := newChains(&config.Bundle{Rules: []config.Rule{{ID: "r", Score: 1}}}, testNow())
	err := flatten(lists, map[string]uint16{"r": 0}, c, func(netip.Prefix, uint32) {})
	if !errors.Is(err, ErrCapacity) {
		t.Errorf("nine lists on one source: %v", err)
	}
}
