// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/kernel"
)

// sized lists the maps whose size the host file sets, and how many entries that makes.
var sized = []struct {
	name    string
	field   string
	entries func(config.Capacity) int
	read    func(*config.Capacity, int)
}{
	{bpf.DataplaneMapFlows, "flows", func(c config.Capacity) int { return c.Flows },
		func(c *config.Capacity, n int) { c.Flows = n }},
	{bpf.DataplaneMapSyns, "syns", func(c config.Capacity) int { return c.Syns },
		func(c *config.Capacity, n int) { c.Syns = n }},
	{bpf.DataplaneMapHellos, "hellos", hellos, func(c *config.Capacity, n int) { c.Hellos = n }},
	{bpf.DataplaneMapHelloSets, "hellos", func(c config.Capacity) int { return hellos(c) / bpf.HelloWays }, nil},
	{bpf.DataplaneMapShapes, "shapes", func(c config.Capacity) int { return c.Shapes },
		func(c *config.Capacity, n int) { c.Shapes = n }},
	{bpf.DataplaneMapShapesListed, "shapes", func(c config.Capacity) int { return max(c.Shapes/2, 1) }, nil},
	{bpf.DataplaneMapShapeBudgets, "shapes", func(c config.Capacity) int { return powerOfTwo(c.Shapes) }, nil},
	{bpf.DataplaneMapBans, "bans", func(c config.Capacity) int { return c.Bans },
		func(c *config.Capacity, n int) { c.Bans = n }},
	{bpf.DataplaneMapVouched, "vouched", func(c config.Capacity) int { return c.Vouched },
		func(c *config.Capacity, n int) { c.Vouched = n }},
	{bpf.DataplaneMapRuleHits, "rules", func(c config.Capacity) int { return bpf.Slots * c.Rules },
		func(c *config.Capacity, n int) { c.Rules = n / bpf.Slots }},
}

// What one processor and one source prefix may spend in a second on the fingerprints of new ClientHellos: 2,000 of 6 µs
// are 1.2 % of a processor, and a site's own visitors show a handful of new ones.
const (
	shapesPerSecond = 2000
	shapesPerPrefix = 32
	// unprovenPerSecond is how many packets without a socket that vouches for them may cost a processor more than a
	// microsecond: a new shape at a service whose sockets are elsewhere, a hello in several records.
	unprovenPerSecond = 200
)

// In which time a source prefix votes once, and the window of a budget.
const (
	voteSeconds   = 24 * 60 * 60
	budgetSeconds = 10
)

// How the event stream is thinned out, on each processor.
const (
	// EventsPerSecond is how many events are told at most; more are counted as lost.
	EventsPerSecond = 500
	// PassesPerEvent is how many passes of one kind make one event, the first of which is told; blocks are all told.
	PassesPerEvent = 64
)

// hellos returns the number of places for unfinished hellos: a set at least for what sockets vouch for, and one for the
// rest.
func hellos(c config.Capacity) int { return powerOfTwo(max(c.Hellos, 2*bpf.HelloWays)) }

// powerOfTwo returns the next one from n on.
func powerOfTwo(n int) int { return 1 << bits.Len(uint(max(n, 1)-1)) }

// size gives every map its size. A map that is in use keeps the size it has: replacing it would forget what it knows,
// so the new capacity waits for a detach or a reboot, and a warning says so.
func (d *Dataplane) size(spec *ebpf.CollectionSpec) error {
	d.capacity = d.capacity.OrDefault()
	for _, s := range sized {
		want := uint32(s.entries(d.capacity))
		m := spec.Maps[s.name]
		m.MaxEntries = want
		pinned, err := d.pins.OpenMap(s.name)
		if err != nil {
			return err
		}
		if pinned == nil {
			continue
		}
		m.MaxEntries = pinned.MaxEntries()
		_ = pinned.Close()
		if m.MaxEntries != want {
			d.warnings = append(d.warnings,
				fmt.Sprintf("capacity.%s: map %s is in use with %d entries; %d wait for `spillway detach` or a reboot",
					s.field, s.name, m.MaxEntries, want))
			if s.read != nil {
				s.read(&d.capacity, int(m.MaxEntries))
			}
		}
	}
	settings := bpf.Settings{
		SynMask:           spec.Maps[bpf.DataplaneMapSyns].MaxEntries - 1,
		EventsPerSecond:   EventsPerSecond,
		EventSampleMask:   PassesPerEvent - 1,
		RulesMax:          spec.Maps[bpf.DataplaneMapRuleHits].MaxEntries / bpf.Slots,
		HelloMask:         spec.Maps[bpf.DataplaneMapHellos].MaxEntries - 1,
		ShapeBudgetMask:   spec.Maps[bpf.DataplaneMapShapeBudgets].MaxEntries - 1,
		ShapesPerSecond:   shapesPerSecond,
		ShapesPerPrefix:   shapesPerPrefix,
		UnprovenPerSecond: unprovenPerSecond,
		ConntrackNext:     d.tracker.entry(),
		VoteSeconds:       voteSeconds,
		BudgetSeconds:     budgetSeconds,
	}
	if d.lab {
		settings.IsLab = 1
	}
	if kernel.IsRealtime() {
		settings.IsRealtime = 1
	}
	if d.adjust != nil {
		d.adjust(&settings)
	}
	if err := spec.Variables[bpf.DataplaneVarSettings].Set(&settings); err != nil {
		return fmt.Errorf("set the dataplane's settings: %w", err)
	}
	return nil
}

// pinnedCapacity reads the capacities off the pinned maps.
func (d *Dataplane) pinnedCapacity() config.Capacity {
	c := config.DefaultHost().Capacity
	for _, s := range sized {
		if s.read != nil {
			s.read(&c, int(d.maps[s.name].MaxEntries()))
		}
	}
	return c
}

func innerSpecs(spec *ebpf.CollectionSpec) map[string]*ebpf.MapSpec {
	inner := map[string]*ebpf.MapSpec{}
	for name, m := range spec.Maps {
		if m.InnerMap != nil {
			inner[name] = m.InnerMap
		}
	}
	return inner
}

// isPinnedMap tells the maps of the dataplane's folder from the root's words, from the question to connection tracking,
// and from what belongs to one load of the programs: .rodata and the PROG_ARRAY between them.
func isPinnedMap(m *ebpf.MapSpec) bool { return isPinnedMapName(m.Name) }

func isPinnedMapName(name string) bool {
	return !strings.HasPrefix(name, ".") && name != bpf.DataplaneMapRoot && name != bpf.DataplaneMapPrograms &&
		name != bpf.DataplaneMapConntracks
}
