// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

// MapPlan is what one map will take, over all its slots.
type MapPlan struct {
	Name     string
	Capacity int
	Slots    int
	Bytes    uint64
}

// MemoryPlan is the kernel memory that a host file's capacities will take when everything is full. The total is less
// than the sum where several maps share a capacity: a row lies in one of them.
type MemoryPlan struct {
	Maps  []MapPlan
	Total uint64
}

// Sizes of the kernel's own structs, Linux 6.1 to 6.18, 64 bit, rounded up: a plan may promise a little too much.
const (
	hashElement = 48 // struct htab_elem, before key and value
	hashBucket  = 16
	trieNode    = 40 // struct lpm_trie_node, before prefix and value
)

// How many slots are ever filled at once. Each takes the lowest that is free, so what lies in others is nothing.
const (
	// Stable, candidate, previous, the fast track's, and two that are built: a reload swaps stable and candidate in one
	// store. What a child tastes becomes one of these two.
	generationSlots = 6
	hostSlots       = 2 // the published one, and one that is built
)

// PlanMemory computes the plan, before anything is taken.
func PlanMemory(c config.Capacity, cpus int) (MemoryPlan, error) {
	spec, err := bpf.LoadDataplane()
	if err != nil {
		return MemoryPlan{}, fmt.Errorf("read the embedded dataplane: %w", err)
	}
	c = c.OrDefault()
	for _, s := range sized {
		spec.Maps[s.name].MaxEntries = uint32(s.entries(c))
	}
	inner := map[string]struct{ entries, slots int }{
		bpf.DataplaneMapRules:         {c.Rules + 1, generationSlots},
		bpf.DataplaneMapGenerations:   {1, generationSlots},
		bpf.DataplaneMapHosts:         {1, hostSlots},
		bpf.DataplaneMapHostPorts:     {2 * 65536, hostSlots},
		bpf.DataplaneMapHostAddresses: {c.Services * 64, hostSlots},
		bpf.DataplaneMapHostAllowlist: {c.Allowlist + 1, hostSlots},
	}
	rooms, none := map[string]string{}, map[string]int{}
	for _, m := range compile.Maps() {
		inner[m.Name] = struct{ entries, slots int }{m.Entries(c), generationSlots}
		rooms[m.Name], none[m.Name] = m.Room, m.Entries(config.Capacity{})
	}
	var plan MemoryPlan
	byRoom := map[string]uint64{}
	for name, m := range spec.Maps {
		if !isPinnedMap(m) {
			continue
		}
		p := MapPlan{Name: name, Capacity: int(m.MaxEntries), Slots: 1}
		if in, ok := inner[name]; ok {
			m = m.InnerMap.Copy()
			m.MaxEntries = uint32(in.entries)
			p.Capacity, p.Slots = in.entries, in.slots
		}
		p.Bytes = uint64(p.Slots) * mapBytes(m, uint64(cpus))
		plan.Maps = append(plan.Maps, p)
		least := p.Bytes // without a row
		if room, ok := rooms[name]; ok {
			m.MaxEntries = uint32(max(none[name], 1))
			least = uint64(p.Slots) * mapBytes(m, uint64(cpus))
			byRoom[room] = max(byRoom[room], p.Bytes-least)
		}
		plan.Total += least
	}
	for _, rows := range byRoom {
		plan.Total += rows
	}
	return plan, nil
}

func round8(n uint32) uint64 { return uint64(n+7) &^ 7 }

// mapBytes follows the kernel's own accounting (kernel/bpf/{arraymap,hashtab,lpm_trie,ringbuf}.c).
func mapBytes(m *ebpf.MapSpec, cpus uint64) uint64 {
	n := uint64(m.MaxEntries)
	page := uint64(os.Getpagesize())
	switch m.Type {
	case ebpf.PerCPUArray:
		return n * (8 + round8(m.ValueSize)*cpus)
	case ebpf.LRUHash, ebpf.Hash:
		elements := n
		if m.Type == ebpf.Hash {
			elements += cpus
		}
		buckets := uint64(1) << bits.Len64(max(n, 1)-1)
		return elements*(hashElement+round8(m.KeySize)+round8(m.ValueSize)) + buckets*hashBucket
	case ebpf.LPMTrie:
		// Two prefixes that part need a node between them: at worst one less than there are prefixes.
		return max(2*n, 1) * (trieNode + round8(m.KeySize-4+m.ValueSize))
	case ebpf.RingBuf:
		return n + 3*page
	}
	return (n*round8(m.ValueSize) + page) &^ (page - 1)
}

// MapUse is what one map takes now.
type MapUse struct {
	Name     string
	Entries  int // -1 where counting would mean walking a table that traffic writes
	Capacity int
	Bytes    uint64
}

// MapUse returns what the maps take; of a map of slots, the sum over its slots, and the fullest generation's rows.
func (d *Dataplane) MapUse() ([]MapUse, error) {
	rows, err := d.rowsOf()
	if err != nil {
		return nil, err
	}
	var all []MapUse
	for name, m := range d.maps {
		if !isPinnedMapName(name) {
			continue
		}
		u := MapUse{Name: name, Entries: -1, Capacity: int(m.MaxEntries()), Bytes: memlock(m)}
		if r, ok := rows[name]; ok {
			u.Entries, u.Capacity = r.entries, r.capacity
		}
		if _, ok := d.inner[name]; ok {
			if u.Bytes, err = d.slotBytes(name, u.Bytes); err != nil {
				return nil, err
			}
		}
		all = append(all, u)
	}
	slices.SortFunc(all, func(a, b MapUse) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

type rowCount struct{ entries, capacity int }

// rowsOf knows the rows of the maps that can refuse one: bans, and the features of the fullest resident generation.
func (d *Dataplane) rowsOf() (map[string]rowCount, error) {
	bans, err := d.allBans()
	if err != nil {
		return nil, err
	}
	vouched := 0
	if err := kernel.EachRow(d.maps[bpf.DataplaneMapVouched], func(bpf.VouchedKey, uint64) { vouched++ }); err != nil {
		return nil, kernel.Explain("read the vouched sources", err)
	}
	generations, err := d.Generations()
	if err != nil {
		return nil, err
	}
	most, protected := config.Counts{}, 0
	for _, g := range generations {
		for room, n := range g.Rows {
			most[room] = max(most[room], n)
		}
		protected = max(protected, g.Allowlist)
	}
	c := d.capacity
	rows := map[string]rowCount{
		bpf.DataplaneMapVouched:       {vouched, int(d.maps[bpf.DataplaneMapVouched].MaxEntries())},
		bpf.DataplaneMapBans:          {len(bans), int(d.maps[bpf.DataplaneMapBans].MaxEntries())},
		bpf.DataplaneMapRules:         {most["rules"], c.Rules},
		bpf.DataplaneMapHostAllowlist: {protected, c.Allowlist},
	}
	for _, m := range compile.Maps() {
		rows[m.Name] = rowCount{-1, c.Room(m.Room)} // its rows are told with those of another
	}
	for _, m := range compile.Counted() {
		rows[m.Name] = rowCount{most[m.Room], c.Room(m.Room)}
	}
	return rows, nil
}

func (d *Dataplane) slotBytes(name string, bytes uint64) (uint64, error) {
	for slot := uint8(1); slot < bpf.Slots; slot++ {
		m, err := d.innerMap(name, slot)
		if errors.Is(err, ErrPinDiffers) {
			continue // VerifyWiring tells of those that count
		}
		if err != nil {
			return 0, err
		}
		if m != nil {
			bytes += memlock(m)
			_ = m.Close()
		}
	}
	return bytes, nil
}

func memlock(m *ebpf.Map) uint64 {
	info, err := m.Info()
	if err != nil {
		return 0
	}
	bytes, _ := info.Memlock()
	return bytes
}
