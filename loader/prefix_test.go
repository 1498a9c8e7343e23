// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// syn6 is syn over IPv6.
func syn6(src netip.Addr) []byte {
	f := make([]byte, 14+40+20)
	f[12], f[13] = 0x86, 0xdd
	ip, tcp := f[14:], f[14+40:]
	ip[0], ip[5], ip[6], ip[7] = 0x60, 20, 6, 64
	copy(ip[8:], src.AsSlice())
	copy(ip[24:], netip.MustParseAddr("2001:db8::80").AsSlice())
	tcp[0], tcp[1], tcp[2], tcp[3] = 0x9c, 0x40, 1, 0xbb
	tcp[12], tcp[13] = 5<<4, 2
	return f
}

// trieOf is the oracle: the kernel's own longest match, with whether a prefix blocks.
func trieOf(t *testing.T, lists map[netip.Prefix]bool) func(netip.Addr) bool {
	t.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.LPMTrie, KeySize: 20, ValueSize: 4, MaxEntries: uint32(len(lists)),
		Flags: unix.BPF_F_NO_PREALLOC})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	key := func(a netip.Addr, bits int) []byte {
		as16 := a.As16()
		return append(binary.NativeEndian.AppendUint32(nil, uint32(128-a.BitLen()+bits)), as16[:]...)
	}
	for p, blocks := range lists {
		value := uint32(1)
		if blocks {
			value = 2
		}
		if err := m.Put(key(p.Addr(), p.Bits()), value); err != nil {
			t.Fatal(err)
		}
	}
	return func(a netip.Addr) bool {
		var value uint32
		if err := m.Lookup(key(a, a.BitLen()), &value); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Fatal(err)
		}
		return value == 2
	}
}

// corners are addresses at the edges of a prefix, beside it, and somewhere inside.
func corners(p netip.Prefix, r *rand.Rand) []netip.Addr {
	first := p.Addr().AsSlice()
	last, inside := slices.Clone(first), slices.Clone(first)
	for i := p.Bits(); i < p.Addr().BitLen(); i++ {
		last[i/8] |= 0x80 >> (i % 8)
		inside[i/8] |= byte(r.IntN(2)) * (0x80 >> (i % 8))
	}
	of := func(b []byte) netip.Addr { a, _ := netip.AddrFromSlice(b); return a }
	all := []netip.Addr{p.Addr(), of(last), of(inside), p.Addr().Prev(), of(last).Next()}
	return slices.DeleteFunc(all, func(a netip.Addr) bool { return !a.IsValid() })
}

// What the program blocks is what the kernel's trie says: of lists as they are found, and of those that are hardest for
// tables in chunks and pages, at each edge of a prefix and in between. Nothing of it is drift.
func TestPrefixesAreThoseOfATrie(t *testing.T) {
	d := openTest(t, Options{})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 18))
	v4 := func(a uint32) netip.Addr { return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, a))) }
	v6 := func(high, low uint64) netip.Addr {
		return netip.AddrFrom16([16]byte(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, high), low)))
	}
	global := func() uint64 { return r.Uint64()&(1<<61-1) | 1<<61 }
	pick := func(from []int) int { return from[r.IntN(len(from))] }
	lengths4, lengths6 := []int{32, 32, 24, 24, 22, 20, 16, 8}, []int{128, 64, 64, 56, 48, 48, 32, 29}
	const all, many, in6 = 5_000, 40_000, 0x2001_0db8_0000_0000
	for name, row := range map[string]struct {
		rows   int
		prefix func(i int) (netip.Addr, int)
	}{
		"IPv4, random":      {all, func(int) (netip.Addr, int) { return v4(r.Uint32()), pick(lengths4) }},
		"IPv4, random /32":  {all, func(int) (netip.Addr, int) { return v4(r.Uint32()), 32 }},
		"IPv4, each other":  {all, func(i int) (netip.Addr, int) { return v4(0x0a000000 + 2*uint32(i)), 32 }},
		"IPv4, adjacent":    {all, func(i int) (netip.Addr, int) { return v4(0x0a003ff0 + uint32(i)), 32 }},
		"IPv4, nested":      {33, func(i int) (netip.Addr, int) { return v4(0xcb007155), i }},
		"IPv4, dense":       {all, func(int) (netip.Addr, int) { return v4(0x0a000000 + r.Uint32N(1<<18)), 14 + r.IntN(19) }},
		"IPv4, all, by /8":  {257, func(i int) (netip.Addr, int) { return v4(uint32(i-1) << 24), min(8, i*8) }},
		"IPv6, random":      {all, func(int) (netip.Addr, int) { return v6(global(), r.Uint64()), pick(lengths6) }},
		"IPv6, random /128": {all, func(int) (netip.Addr, int) { return v6(global(), r.Uint64()), 128 }},
		"IPv6, each other":  {all, func(i int) (netip.Addr, int) { return v6(in6+2*uint64(i), 0), 64 }},
		"IPv6, nested":      {129, func(i int) (netip.Addr, int) { return v6(in6, 0x8000_0000_0000_0001), i }},
		"IPv6, in a chunk":  {all, func(int) (netip.Addr, int) { return v6(in6+r.Uint64N(1<<32), 0), 40 + r.IntN(25) }},
		"IPv4, over pages":  {many, func(int) (netip.Addr, int) { return v4(r.Uint32()), 32 }},
		"IPv6, over pages":  {many, func(int) (netip.Addr, int) { return v6(in6+r.Uint64N(1<<40), 0), 64 }},
		"IPv6, in a /64":    {all, func(int) (netip.Addr, int) { return v6(in6, r.Uint64()), 60 + r.IntN(69) }},
		"IPv6, anywhere":    {all, func(int) (netip.Addr, int) { return v6(r.Uint64(), r.Uint64()), 1 + r.IntN(128) }},
		"IPv6, all, by /5":  {33, func(i int) (netip.Addr, int) { return v6(uint64(i-1)<<59, 0), min(5, i*5) }},
	} {
		t.Run(name, func(t *testing.T) {
			lists := map[netip.Prefix]bool{}
			bundle := testBundle()
			bundle.Rules = append(bundle.Rules, config.Rule{ID: "odd", Label: "odd", Score: 1})
			blocking := config.PrefixList{List: "own", Rule: "bad"}
			harmless := config.PrefixList{List: "own", Rule: "odd"}
			var asked []netip.Addr
			for i := range row.rows {
				addr, bits := row.prefix(i)
				p := netip.PrefixFrom(addr, bits).Masked()
				if _, ok := lists[p]; ok || addr.Is4In6() {
					continue
				}
				if lists[p] = r.IntN(2) == 0; lists[p] {
					blocking.Entries = append(blocking.Entries, p)
				} else {
					harmless.Entries = append(harmless.Entries, p)
				}
				if i%(row.rows/all+1) == 0 {
					asked = append(asked, corners(p, r)...)
				}
			}
			for range 500 {
				asked = append(asked, v4(r.Uint32()), v6(global(), r.Uint64()), v6(r.Uint64(), r.Uint64()))
			}
			bundle.Prefixes = []config.PrefixList{blocking, harmless}
			img := publish(t, d, testHost(), bundle)
			for table, chunks := range map[string]int{bpf.DataplaneMapPrefixes4: 4, bpf.DataplaneMapPrefixes6: 16} {
				size := img.Tables(d.capacity)[table].Size()
				if row.rows == many && size > 0 && size < chunks+2 {
					t.Errorf("the ranges of %s take %d pages: no other one is looked into", table, size-chunks)
				}
			}
			blocks, wrong := trieOf(t, lists), 0
			for _, a := range asked {
				if a.Is4In6() || slices.ContainsFunc(testHost().Sources(), func(s config.ProtectedSource) bool {
					return s.Prefix.Contains(a)
				}) {
					continue
				}
				frame, want := syn6(a), uint32(xdpPass)
				if a.Is4() {
					frame = syn(a.String(), "192.0.2.1", 443)
				}
				if blocks(a) && a.Is4() == asked[0].Is4() { // ::/0 is IPv6 alone
					want = xdpDrop
				}
				if got := run(t, d, frame); got != want && wrong < 5 {
					t.Errorf("%s: XDP action %d, want %d", a, got, want)
					wrong++
				}
			}
			if drifts, err := d.VerifyGeneration(d.Control().Stable, img); err != nil || len(drifts) > 0 {
				t.Errorf("drift %v, %v", drifts, err)
			}
		})
	}
}
