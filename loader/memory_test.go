// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/kernel"
)

// What is promised before anything is taken holds when every place is taken: the kernel's own accounting never exceeds
// the plan, and the plan is no fantasy.
func TestA39MemoryPlanHolds(t *testing.T) {
	needKernel(t)
	if major, minor, err := kernel.Version(); err != nil || major == 6 && minor < 4 {
		t.Skipf("left out: Linux before 6.4 estimates a map's memory instead of accounting it (%d.%d, %v)", major, minor, err)
	}
	c := config.DefaultHost().Capacity
	c.Prefixes4, c.Prefixes6 = 20_000, 20_000
	host := testHost()
	host.Capacity = c
	d := openTest(t, Options{Capacity: c})
	bundle := testBundle()
	list := config.PrefixList{List: "own", Rule: "bad"}
	for i := range c.Prefixes4 {
		list.Entries = append(list.Entries, netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i >> 8), byte(i), 0}), 24))
	}
	bits6 := []int{48, 72, 128} // of the table, the trie and the hash
	for i := range c.Prefixes6 {
		list.Entries = append(list.Entries,
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 8), byte(i), 14: 1}),
				bits6[i%len(bits6)]).Masked())
	}
	bundle.Prefixes = []config.PrefixList{list}
	for range 3 {
		publish(t, d, host, bundle)
	}

	plan, err := PlanMemory(c, ebpf.MustPossibleCPU())
	if err != nil {
		t.Fatal(err)
	}
	use, err := d.MapUse()
	if err != nil {
		t.Fatal(err)
	}
	planned := map[string]uint64{}
	for _, p := range plan.Maps {
		planned[p.Name] = p.Bytes
	}
	var used uint64
	for _, u := range use {
		used += u.Bytes
		// A page for the map itself and for each inner one lies outside the formulas.
		if slack := uint64(6 * 4096); u.Bytes > planned[u.Name]+planned[u.Name]/10+slack {
			t.Errorf("%s takes %d bytes, %d were planned", u.Name, u.Bytes, planned[u.Name])
		}
	}
	if used > plan.Total || used < plan.Total/4 {
		t.Errorf("%d bytes in use, %d planned", used, plan.Total)
	}
	t.Logf("%d bytes in use with full prefixes, %d planned for everything full", used, plan.Total)
}
