// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader"
)

// rows are the counters that are not zero.
type rows map[loader.Counter]uint64

// looked is how many counters are read after every packet: those of all services that a test has. The others are read
// once, when the test ends: reading 50,000 of them takes the kernel 20 ms.
const looked = 6 * bpf.Slots * bpf.ReasonMax * bpf.Outcomes

func (p *plane) counters() rows {
	p.t.Helper()
	var cursor ebpf.MapBatchCursor
	cpus := ebpf.MustPossibleCPU()
	keys, values := make([]uint32, looked), make([]uint64, looked*cpus)
	n, err := p.pinned(bpf.DataplaneMapCounters).BatchLookup(&cursor, keys, values, nil)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		err = nil
	}
	p.must(err)
	r := rows{}
	for i := range n {
		for _, packets := range values[i*cpus : (i+1)*cpus] {
			if packets != 0 {
				r[counterAt(int(keys[i]))] += packets
			}
		}
	}
	return r
}

// counterAt reads an index of the counters, see count() in bpf/stats.h.
func counterAt(index int) loader.Counter {
	var c loader.Counter
	c.Outcome = bpf.Outcome(index % bpf.Outcomes)
	index /= bpf.Outcomes
	c.Reason = bpf.Reason(index % bpf.ReasonMax)
	index /= bpf.ReasonMax
	c.Slot, c.Service = uint8(index%bpf.Slots), uint8(index/bpf.Slots)
	return c
}

// checkTotal proves at the end of a test that all counters together saw every packet once.
func (p *plane) checkTotal() {
	p.t.Helper()
	all, err := p.Counters()
	p.must(err)
	var total uint64
	for _, c := range all {
		total += c.Packets
	}
	if total != p.sent {
		p.t.Errorf("all counters together: %d, want the %d packets that were sent", total, p.sent)
	}
}

// grown returns what was added since before.
func (r rows) grown(before rows) rows {
	diff := maps.Clone(r)
	maps.DeleteFunc(diff, func(c loader.Counter, n uint64) bool { return n == before[c] })
	for c := range diff {
		diff[c] -= before[c]
	}
	return diff
}

func (p *plane) readable(grown rows) map[string]uint64 {
	named := map[string]uint64{}
	for c, n := range grown {
		named[fmt.Sprintf("%s slot %d %s %s", p.names[c.Service], c.Slot, bpf.ReasonName(c.Reason), bpf.OutcomeName(c.Outcome))] += n
	}
	return named
}

// pinned opens a map of the dataplane under test.
func (p *plane) pinned(name string) *ebpf.Map {
	p.t.Helper()
	return p.pinnedAt(fmt.Sprintf("v%d/maps/%s", bpf.ABIVersion, name))
}

func (p *plane) pinnedAt(path string) *ebpf.Map {
	p.t.Helper()
	if m, ok := p.maps[path]; ok {
		return m
	}
	m, err := ebpf.LoadPinnedMap(filepath.Join(p.pins, path), nil)
	p.must(err)
	p.maps[path] = m
	p.t.Cleanup(func() { _ = m.Close() })
	return m
}
