// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
)

// Counter is the number of packets that left the dataplane in one way, since it was created.
type Counter struct {
	Service uint8 // 0: for no service
	Slot    uint8 // of the generation that decided; 0: none did
	Reason  bpf.Reason
	Outcome bpf.Outcome
	Packets uint64
}

// Counters returns the rows that are not zero, summed over CPUs.
func (d *Dataplane) Counters() ([]Counter, error) {
	var counters []Counter
	err := eachSum(d.maps[bpf.DataplaneMapCounters], 0, bpf.ServicesMax*bpf.Slots*bpf.ReasonMax*bpf.Outcomes,
		func(index int, packets uint64) {
			outcome := index % bpf.Outcomes
			index /= bpf.Outcomes
			reason := index % bpf.ReasonMax
			index /= bpf.ReasonMax
			counters = append(counters, Counter{
				Service: uint8(index / bpf.Slots), Slot: uint8(index % bpf.Slots),
				Reason: bpf.Reason(reason), Outcome: bpf.Outcome(outcome), Packets: packets,
			})
		})
	return counters, explain("read the counters", err)
}

// RuleHits returns how often each rule of a slot's generation matched, by the rule's index in its bundle.
func (d *Dataplane) RuleHits(slot uint8) (map[uint16]uint64, error) {
	hits := map[uint16]uint64{}
	per := int(d.maps[bpf.DataplaneMapRuleHits].MaxEntries()) / bpf.Slots
	err := eachSum(d.maps[bpf.DataplaneMapRuleHits], int(slot)*per, per, func(index int, matches uint64) {
		hits[uint16(index)] = matches
	})
	return hits, explain("read the rules' hits", err)
}

// zeroRuleHits gives a slot's next generation counters of its own. A failure costs a number on a page, so it is told,
// not returned.
func (d *Dataplane) zeroRuleHits(slot uint8) {
	hits, err := d.RuleHits(slot)
	if err != nil {
		d.log.Warn("cannot reset the hits of a slot's rules", "slot", slot, "error", err)
		return
	}
	m := d.maps[bpf.DataplaneMapRuleHits]
	per := m.MaxEntries() / bpf.Slots
	zero := make([]uint64, ebpf.MustPossibleCPU())
	for rule := range hits {
		if err := m.Put(uint32(slot)*per+uint32(rule), zero); err != nil {
			d.log.Warn("cannot reset the hits of a rule", "slot", slot, "rule", rule, "error", err)
			return
		}
	}
}

// EventLosses returns how many decisions were not told because the ring or the rate was full.
func (d *Dataplane) EventLosses() (uint64, error) {
	var budgets []bpf.EventBudget
	if err := d.maps[bpf.DataplaneMapEventBudgets].Lookup(uint32(0), &budgets); err != nil {
		return 0, explain("read the event budgets", err)
	}
	var lost uint64
	for _, b := range budgets {
		lost += b.Lost
	}
	return lost, nil
}

// eachSum visits the entries of a per-CPU array that are not zero, from `from` on, with indexes relative to it.
func eachSum(m *ebpf.Map, from, count int, visit func(index int, sum uint64)) error {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return err
	}
	var cursor ebpf.MapBatchCursor
	keys, values := make([]uint32, batch), make([]uint64, batch*cpus)
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		for i := range n {
			index := int(keys[i]) - from
			if index < 0 || index >= count {
				continue
			}
			var sum uint64
			for _, v := range values[i*cpus : (i+1)*cpus] {
				sum += v
			}
			if sum != 0 {
				visit(index, sum)
			}
		}
		if isLastBatch(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
