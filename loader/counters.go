// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"sync"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

// CounterTable is what packets counted and told.
type CounterTable struct {
	*site
	// counting keeps whoever reads the counters from seeing a slot's counts twice, or not at all, while they move.
	counting sync.RWMutex
}

// Counter is what left the dataplane in one way.
type Counter struct {
	Service uint8 // 0: for no service
	Slot    uint8 // of the generation that decided; 0: none did, or it has left its slot
	Left    bool  // summed over the generations that have left their slots
	Reason  bpf.Reason
	Outcome bpf.Outcome

	Packets uint64
	// Connections that were decided so, each counted once: at its first payload, or at its SYN where that is blocked.
	Connections uint64
	// Alone are packets that were, or would have been, blocked by themselves and belong to no connection. Only rows that
	// are Left have them: they are the service's, whatever generation decided.
	Alone uint64
}

// Counters returns the rows that are not zero, summed over CPUs. The counts of a slot are those of the generation in
// it; the sum over a service's rows only grows, until the maps go.
func (t *CounterTable) Counters() ([]Counter, error) {
	t.counting.RLock()
	defer t.counting.RUnlock()
	found := map[Counter]*Counter{}
	var counters []*Counter
	row := func(key Counter) *Counter {
		c, ok := found[key]
		if !ok {
			c = &Counter{Service: key.Service, Slot: key.Slot, Left: key.Left, Reason: key.Reason, Outcome: key.Outcome}
			found[key] = c
			counters = append(counters, c)
		}
		return c
	}
	err := t.eachCounts(func(at counterAt, sum bpf.Counts) {
		for o := range bpf.Outcomes {
			key := Counter{Service: at.service, Slot: at.slot, Reason: at.reason, Outcome: bpf.Outcome(o)}
			if at.slot == bpf.CounterLeft || at.slot == bpf.CounterAlone {
				key.Slot, key.Left = bpf.SlotEmpty, true
			}
			switch {
			case sum.Packets[o]|sum.Connections[o] == 0:
			case at.slot == bpf.CounterAlone:
				row(key).Alone = sum.Connections[o]
			default:
				row(key).Packets, row(key).Connections = sum.Packets[o], sum.Connections[o]
			}
		}
	})
	all := make([]Counter, len(counters))
	for i, c := range counters {
		all[i] = *c
	}
	return all, kernel.Explain("read the counters", err)
}

// counterAt is a place in the map of counters, see find_counter() in bpf/stats.h.
type counterAt struct {
	service, slot uint8 // slot: or CounterLeft, CounterAlone
	reason        bpf.Reason
}

func (c counterAt) index() uint32 {
	return (uint32(c.service)*bpf.CounterSlots+uint32(c.slot))*uint32(bpf.ReasonMax) + uint32(c.reason)
}

func counterOf(index uint32) counterAt {
	slots := index / uint32(bpf.ReasonMax)
	return counterAt{uint8(slots / bpf.CounterSlots), uint8(slots % bpf.CounterSlots),
		bpf.Reason(index % uint32(bpf.ReasonMax))}
}

// countsBatch is how many counters are read in one call, 128 bytes a processor each.
const countsBatch = 1024

func (t *CounterTable) eachCounts(visit func(counterAt, bpf.Counts)) error {
	return eachPerCPU(t.maps[bpf.DataplaneMapCounters], countsBatch, func(index uint32, each []bpf.Counts) {
		var sum bpf.Counts
		for _, c := range each {
			for o := range c.Packets {
				sum.Packets[o] += c.Packets[o]
				sum.Connections[o] += c.Connections[o]
			}
		}
		if sum != (bpf.Counts{}) {
			visit(counterOf(index), sum)
		}
	})
}

// retire gives a slot's next generation counters of its own: what the last one counted goes to those of generations
// that left. It is one call, which a kill does not divide, so that the sum neither shrinks nor counts anything twice.
// No packet counts there: no role names the slot, and an RCU grace period has passed since one did.
func (t *CounterTable) retire(slot uint8) error {
	t.counting.Lock()
	defer t.counting.Unlock()
	left, gone := map[counterAt]bpf.Counts{}, []counterAt{}
	more := map[counterAt]bpf.Counts{}
	err := t.eachCounts(func(at counterAt, sum bpf.Counts) {
		switch at.slot {
		case slot:
			gone = append(gone, at)
			more[counterAt{at.service, bpf.CounterLeft, at.reason}] = sum
		case bpf.CounterLeft:
			left[at] = sum
		}
	})
	if err != nil {
		return kernel.Explain(fmt.Sprintf("read the counters of slot %d", slot), err)
	}
	rows := map[counterAt]bpf.Counts{}
	for at, sum := range more {
		before := left[at]
		for o := range sum.Packets {
			sum.Packets[o] += before.Packets[o]
			sum.Connections[o] += before.Connections[o]
		}
		rows[at] = sum
	}
	for _, at := range gone {
		rows[at] = bpf.Counts{}
	}
	return kernel.Explain(fmt.Sprintf("take the counters of slot %d away", slot), t.putCounts(rows))
}

// forgetServices zeroes the counters of ids that are given to another service than the published host file's.
func (t *CounterTable) forgetServices(img *compile.HostImage, current *compile.HostInfo) error {
	if current == nil {
		return nil
	}
	t.counting.Lock()
	defer t.counting.Unlock()
	var kept [bpf.ServicesMax]bool
	for _, s := range current.Services {
		kept[s.ID] = img.Service(s.ID).Tag == s.Tag
	}
	rows := map[counterAt]bpf.Counts{}
	err := t.eachCounts(func(at counterAt, _ bpf.Counts) {
		if at.service != 0 && !kept[at.service] && img.Service(at.service).Tag != 0 {
			rows[at] = bpf.Counts{}
		}
	})
	if err == nil {
		err = t.putCounts(rows)
	}
	return kernel.Explain("forget the counters of services that left", err)
}

// putCounts sets counters, all in one call; what is not zero stands with the first processor.
func (t *CounterTable) putCounts(rows map[counterAt]bpf.Counts) error {
	if len(rows) == 0 {
		return nil
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return err
	}
	keys, values := make([]uint32, 0, len(rows)), make([]bpf.Counts, 0, len(rows)*cpus)
	for at, sum := range rows {
		keys = append(keys, at.index())
		values = append(append(values, sum), make([]bpf.Counts, cpus-1)...)
	}
	_, err = t.maps[bpf.DataplaneMapCounters].BatchUpdate(keys, values, nil)
	return err
}

// RuleHits returns how often each rule of a slot's generation matched, by the rule's index in its bundle.
func (t *CounterTable) RuleHits(slot uint8) (map[uint16]uint64, error) {
	hits := map[uint16]uint64{}
	per := int(t.maps[bpf.DataplaneMapRuleHits].MaxEntries()) / bpf.Slots
	err := eachSum(t.maps[bpf.DataplaneMapRuleHits], int(slot)*per, per, func(index int, matches uint64) {
		hits[uint16(index)] = matches
	})
	return hits, kernel.Explain("read the rules' hits", err)
}

// zeroRuleHits gives a slot's next generation counters of its own. A failure costs a number on a page, so it is told,
// not returned.
func (t *CounterTable) zeroRuleHits(slot uint8) {
	hits, err := t.RuleHits(slot)
	if err != nil {
		t.log.Warn("cannot reset the hits of a slot's rules", "slot", slot, "error", err)
		return
	}
	m := t.maps[bpf.DataplaneMapRuleHits]
	per := m.MaxEntries() / bpf.Slots
	zero := make([]uint64, ebpf.MustPossibleCPU())
	for rule := range hits {
		if err := m.Put(uint32(slot)*per+uint32(rule), zero); err != nil {
			t.log.Warn("cannot reset the hits of a rule", "slot", slot, "rule", rule, "error", err)
			return
		}
	}
}

// EventLosses returns how many decisions were not told because the ring or the rate was full.
func (t *CounterTable) EventLosses() (uint64, error) {
	var budgets []bpf.EventBudget
	if err := t.maps[bpf.DataplaneMapEventBudgets].Lookup(uint32(0), &budgets); err != nil {
		return 0, kernel.Explain("read the event budgets", err)
	}
	var lost uint64
	for _, b := range budgets {
		lost += b.Lost
	}
	return lost, nil
}

// eachSum visits the entries of a per-CPU array that are not zero, from `from` on, with indexes relative to it.
func eachSum(m *ebpf.Map, from, count int, visit func(index int, sum uint64)) error {
	return eachPerCPU(m, kernel.Batch, func(key uint32, each []uint64) {
		index := int(key) - from
		if index < 0 || index >= count {
			return
		}
		var sum uint64
		for _, v := range each {
			sum += v
		}
		if sum != 0 {
			visit(index, sum)
		}
	})
}

// eachPerCPU reads all of a per-CPU array, n entries in one call, and hands out each with its values.
func eachPerCPU[V any](m *ebpf.Map, n int, visit func(index uint32, each []V)) error {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return err
	}
	var cursor ebpf.MapBatchCursor
	keys, values := make([]uint32, n), make([]V, n*cpus)
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		for i := range n {
			visit(keys[i], values[i*cpus:(i+1)*cpus])
		}
		if kernel.IsLastBatch(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
