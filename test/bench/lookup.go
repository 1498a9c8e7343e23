// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
)

// lookup is a program with one map of its own size behind it.
type lookup struct {
	objects *compareObjects
	entries int
}

// trieKey is a row of the kernel's trie, its address as packets have it.
type trieKey struct{ bits, address uint32 }

// loadLookup fills a trie and a hash with n rows each, beside the table of a plane that has as many.
func (r *rig) loadLookup(random *rand.Rand, p *plane, n int) error {
	prefixes := randomPrefixes(random, n)
	table, err := p.tableOfPrefixes(bpf.DataplaneMapPrefixes4)
	if err != nil {
		return err
	}
	r.closers = append(r.closers, table.Close)
	objects, err := loadCompareObjectsOf(func(spec *ebpf.CollectionSpec) error {
		spec.Maps["table"].MaxEntries = table.MaxEntries()
		spec.Maps["trie"].MaxEntries = uint32(n)
		spec.Maps["exact"].MaxEntries = uint32(n)
		return nil
	}, map[string]*ebpf.Map{"table": table})
	if err != nil {
		return err
	}
	r.closers = append(r.closers, objects.Close)
	keys := make([]trieKey, n)
	values := make([]uint32, n)
	hosts := make([]uint32, n)
	for i, p := range prefixes {
		addr := step(netip.AddrPortFrom(p.Addr(), 0), 0).Saddr
		keys[i] = trieKey{uint32(p.Bits()), addr}
		hosts[i], values[i] = uint32(i)<<8|1, 1 // never met: a miss is what most packets are
	}
	if _, err := objects.Trie.BatchUpdate(keys, values, nil); err != nil {
		return fmt.Errorf("fill a trie: %w", err)
	}
	if _, err := objects.Exact.BatchUpdate(hosts, values, nil); err != nil {
		return fmt.Errorf("fill a hash: %w", err)
	}
	r.lookups = append(r.lookups, &lookup{objects, n})
	return nil
}

// loadLookup6 fills a trie with the IPv6 prefixes of a plane, beside its table.
func (r *rig) loadLookup6() error {
	table, err := r.planes["six"].tableOfPrefixes(bpf.DataplaneMapPrefixes6)
	if err != nil {
		return err
	}
	r.closers = append(r.closers, table.Close)
	r.lookup6, err = loadCompareObjectsOf(func(spec *ebpf.CollectionSpec) error {
		spec.Maps["table6"].MaxEntries = table.MaxEntries()
		spec.Maps["trie6"].MaxEntries = uint32(len(r.prefixes6))
		return nil
	}, map[string]*ebpf.Map{"table6": table})
	if err != nil {
		return err
	}
	r.closers = append(r.closers, r.lookup6.Close)
	keys, values := make([]bpf.Prefix6Key, len(r.prefixes6)), make([]uint32, len(r.prefixes6))
	for i, p := range r.prefixes6 {
		keys[i], values[i] = compile.Key6(p), 1
	}
	if _, err := r.lookup6.Trie6.BatchUpdate(keys, values, nil); err != nil {
		return fmt.Errorf("fill a trie of IPv6: %w", err)
	}
	return nil
}
