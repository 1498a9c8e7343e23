// SPDX-License-Identifier: Apache-2.0

// Package compare holds a dataplane that the model can be compared with: pins of its own so that every map can be read,
// counters that are checked after each frame, and worlds of the model published to it.
package compare

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/plane"
)

// Capacity is small where a test wants collisions (SYNs), and ample elsewhere.
var Capacity = config.Capacity{
	Prefixes4: 512, Prefixes6: 512, TCPFingerprints: 64, Rules: 64,
	Flows: 65536, Syns: 256, Bans: 64, Allowlist: 64, Services: 16,
}

// Plane is a dataplane of a test's own. It is not safe for several goroutines.
type Plane struct {
	*plane.Plane
	maps  map[string]*ebpf.Map
	words words

	ids     map[string]uint8 // services
	banned  []netip.Prefix
	rows    map[loader.Counter]counts // what every counter must be
	moved   []string                  // counters that were not, at earlier looks
	vouched []netip.Addr
}

// Front says what stands in front of a dataplane.
type Front int

const (
	AsShipped   Front = iota
	DecidesMost       // nothing is told, so the front ends whatever it can end
	NoFront           // the root program calls the dataplane
)

func (f Front) String() string { return []string{"as shipped", "most by the front", "no front"}[f] }

// OpenFor is Open for a test, which closes it.
func OpenFor(t testing.TB, front Front) *Plane {
	t.Helper()
	plane.Need(t)
	p, err := Open(front)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return p
}

// Open loads a dataplane with pins of its own.
func Open(front Front) (*Plane, error) {
	if err := stayOnOneCPU(); err != nil {
		return nil, err
	}
	own, err := plane.Open("oracle", loader.Options{Capacity: Capacity, Lab: true})
	if err != nil {
		return nil, err
	}
	p := &Plane{Plane: own, maps: map[string]*ebpf.Map{}, rows: map[loader.Counter]counts{}}
	for _, name := range []string{bpf.DataplaneMapCounters, bpf.DataplaneMapFlows, bpf.DataplaneMapSyns,
		bpf.DataplaneMapRecentBlocks, bpf.DataplaneMapWords, bpf.DataplaneMapUnread, bpf.DataplaneMapRoot,
		bpf.DataplaneMapLimits, bpf.DataplaneMapLimitCounts} {
		if p.maps[name], err = p.Map(name); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	if err := own.StopClock(func(s *bpf.Settings) {
		if front == DecidesMost {
			s.EventsPerSecond = 0
		}
	}); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if front == NoFront {
		if err := own.SkipFront(); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	if err := p.words.open(p.maps[bpf.DataplaneMapRoot], p.maps[bpf.DataplaneMapWords]); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// stayOnOneCPU keeps the process where it is: which blocks are recent is known to each processor for itself.
func stayOnOneCPU() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("stay on one processor: %w", err)
	}
	var allowed, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return fmt.Errorf("stay on one processor: %w", err)
	}
	for cpu, nth := 0, os.Getpid()%allowed.Count(); one.Count() == 0; cpu++ {
		if !allowed.IsSet(cpu) {
			continue
		}
		if nth == 0 {
			one.Set(cpu)
		}
		nth--
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return fmt.Errorf("stay on one processor: %w", err)
		}
		if err := unix.SchedSetaffinity(id, &one); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("stay on one processor: %w", err)
		}
	}
	return nil
}

// Close takes everything away.
func (p *Plane) Close() error { return errors.Join(p.words.close(), p.Plane.Close()) }

// Reset forgets SYNs, connections, limits, bans and generations.
func (p *Plane) Reset() error {
	if _, err := p.DropGenerations(); err != nil {
		return err
	}
	return errors.Join(
		plane.Empty[bpf.FlowName, bpf.Flow](p.maps[bpf.DataplaneMapFlows]),
		p.setBans(nil), p.setVouched(nil), p.forgetBlocks(),
		plane.Fill(p.maps[bpf.DataplaneMapSyns], bpf.SynRecord{}),
		plane.Fill(p.maps[bpf.DataplaneMapUnread], uint32(0)),
		plane.Fill(p.maps[bpf.DataplaneMapLimits], bpf.LimitSet{}))
}

// Unread returns how many packets that passed unread each place has counted, those that have counted none left out.
func (p *Plane) Unread() (map[uint32]uint32, error) {
	rows, err := plane.Rows[uint32, uint32](p.maps[bpf.DataplaneMapUnread])
	maps.DeleteFunc(rows, func(_, counted uint32) bool { return counted == 0 })
	return rows, err
}

// Unlimited returns how many connections no limit could hold, and how many keys were forgotten before their time.
func (p *Plane) Unlimited() (lost, evicted uint64, err error) {
	var each []bpf.LimitCount
	if err := p.maps[bpf.DataplaneMapLimitCounts].Lookup(uint32(0), &each); err != nil {
		return 0, 0, fmt.Errorf("read what limits could not hold: %w", err)
	}
	for _, n := range each {
		lost, evicted = lost+n.Lost, evicted+n.Evicted
	}
	return lost, evicted, nil
}

func (p *Plane) forgetBlocks() error {
	m := p.maps[bpf.DataplaneMapRecentBlocks]
	if err := m.Put(uint32(0), make([]bpf.BlockNames, ebpf.MustPossibleCPU())); err != nil {
		return fmt.Errorf("forget blocked connections: %w", err)
	}
	return nil
}
