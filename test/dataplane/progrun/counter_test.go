// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
)

// counts is what one counter holds: packets, connections, packets that belong to none.
type counts struct{ packets, connections, alone uint64 }

// rows are the counters that are not zero.
type rows map[loader.Counter]counts

// looked is how many counters are read after every packet: those of all services that a test has. The others are read
// once, when the test ends.
const looked = 6 * bpf.CounterSlots * bpf.ReasonMax

func (p *plane) counters() rows {
	p.t.Helper()
	var cursor ebpf.MapBatchCursor
	cpus := ebpf.MustPossibleCPU()
	if p.keys == nil { // they are read after every packet
		p.keys, p.values = make([]uint32, looked), make([]bpf.Counts, looked*cpus)
	}
	n, err := p.pinned(bpf.DataplaneMapCounters).BatchLookup(&cursor, p.keys, p.values, nil)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		err = nil
	}
	p.must(err)
	r := rows{}
	for i := range n {
		for _, c := range p.values[i*cpus : (i+1)*cpus] {
			r.add(int(p.keys[i]), c)
		}
	}
	return r
}

// add takes what one processor counted at an index, see find_counter() in bpf/stats.h.
func (r rows) add(index int, c bpf.Counts) {
	if c == (bpf.Counts{}) {
		return
	}
	reason := bpf.Reason(index % bpf.ReasonMax)
	slot, service := index/bpf.ReasonMax%bpf.CounterSlots, index/bpf.ReasonMax/bpf.CounterSlots
	for o := range c.Packets {
		if c.Packets[o]|c.Connections[o] == 0 {
			continue
		}
		key := loader.Counter{Service: uint8(service), Reason: reason, Outcome: bpf.Outcome(o)}
		if key.Left = slot >= bpf.CounterLeft; !key.Left {
			key.Slot = uint8(slot)
		}
		sum := r[key]
		sum.packets += c.Packets[o]
		if slot == bpf.CounterAlone {
			sum.alone += c.Connections[o]
		} else {
			sum.connections += c.Connections[o]
		}
		r[key] = sum
	}
}

// checkTotal proves at the end of a test that all counters together saw every packet once.
func (p *plane) checkTotal() {
	p.t.Helper()
	if total := p.total(); total != p.sent {
		p.t.Errorf("all counters together: %d, want the %d packets that were sent", total, p.sent)
	}
}

func (p *plane) total() (packets uint64) {
	p.t.Helper()
	all, err := p.Counters()
	p.must(err)
	for _, c := range all {
		packets += c.Packets
	}
	return packets
}

// grown returns what was added since before.
func (r rows) grown(before rows) rows {
	diff := rows{}
	for c, n := range r {
		if b := before[c]; n != b {
			diff[c] = counts{n.packets - b.packets, n.connections - b.connections, n.alone - b.alone}
		}
	}
	return diff
}

// split tells apart: packets are the rows that packets left by; decided are connections and lone packets, by reason and
// outcome.
func (r rows) split(names map[uint8]string) (packets map[loader.Counter]uint64, decided map[string]uint64) {
	packets, decided = map[loader.Counter]uint64{}, map[string]uint64{}
	for c, n := range r {
		if n.packets != 0 {
			packets[c] = n.packets
		}
		what := fmt.Sprintf("%s %s %s", names[c.Service], bpf.ReasonName(c.Reason), bpf.OutcomeName(c.Outcome))
		if n.connections != 0 {
			decided[what] += n.connections
		}
		if n.alone != 0 {
			decided["alone: "+what] += n.alone
		}
	}
	return packets, decided
}

func (p *plane) readable(grown map[loader.Counter]uint64) map[string]uint64 {
	named := map[string]uint64{}
	for c, n := range grown {
		named[fmt.Sprintf("%s slot %d %s %s", p.names[c.Service], c.Slot, bpf.ReasonName(c.Reason),
			bpf.OutcomeName(c.Outcome))] += n
	}
	return named
}

// pinned opens a map of the dataplane under test.
func (p *plane) pinned(name string) *ebpf.Map {
	p.t.Helper()
	m, err := p.Map(name)
	p.must(err)
	return m
}
