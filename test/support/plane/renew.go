// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

// remembered are the maps that packets fill, and the hash of interfaces.
var remembered = []string{
	bpf.DataplaneMapFlows, bpf.DataplaneMapSyns, bpf.DataplaneMapUnread, bpf.DataplaneMapSynAnswers,
	bpf.DataplaneMapWorkspaces, bpf.DataplaneMapHelloSets, bpf.DataplaneMapHellos, bpf.DataplaneMapShapes,
	bpf.DataplaneMapShapesListed, bpf.DataplaneMapShapeBudgets, bpf.DataplaneMapInterfaces, bpf.DataplaneMapCounters,
	bpf.DataplaneMapRecentBlocks, bpf.DataplaneMapReleases, bpf.DataplaneMapRuleHits, bpf.DataplaneMapEventBudgets,
	bpf.DataplaneMapPairs, bpf.DataplaneMapBlame, bpf.DataplaneMapTrials, bpf.DataplaneMapLaneCounts,
	bpf.DataplaneMapLimits, bpf.DataplaneMapSharers, bpf.DataplaneMapLimitCounts,
}

// Renew makes the plane what Open returns, but for its age: epochs and numbers go on, its seed stays, and what nobody
// read of the ring of events is still there. A load of the programs costs most of a second; this costs a few
// milliseconds.
func (p *Plane) Renew() error {
	if err := p.RefillPrograms(); err != nil {
		return err
	}
	_, err := p.DropGenerations()
	errs := []error{err, p.SetMode(config.ModeObserve), p.renewHost(), p.renewBans()}
	errs = append(errs, p.renewLanes())
	p.SetBypass(0)
	errs = append(errs, p.ForgetTrips())
	p.SetLease(0)
	p.SetBaked(0)
	p.SetTellAll(0)
	return errors.Join(append(errs, p.Forget(remembered...))...)
}

// renewHost leaves no service, so that the next host file's get their ids from the first on.
func (p *Plane) renewHost() error {
	host, err := p.Host()
	if err != nil || host == nil {
		return err
	}
	for _, s := range host.Services {
		p.SetServiceBypass(s.ID, 0)
	}
	h := config.DefaultHost()
	h.Services = nil
	slot, err := p.MakeHost(h)
	if err != nil {
		return err
	}
	return p.change(loader.Change{Host: &slot})
}

// renewLanes stops what is compared. Votes stay until their run is over: whoever compares again takes another run
// (NextRun).
func (p *Plane) renewLanes() error {
	off := false
	return errors.Join(p.Stop(loader.LaneMain), p.Stop(loader.LaneFast), p.SetBeside(bpf.SlotEmpty),
		p.change(loader.Change{Pair: &off, Budget: &off}))
}

// NextRun returns a run that no comparison of this plane had.
func (p *Plane) NextRun() uint16 {
	p.run++
	return p.run
}

func (p *Plane) renewBans() error {
	bans, err := p.Bans()
	for _, b := range bans {
		_, failed := p.Unban(b.Prefix)
		err = errors.Join(err, failed)
	}
	vouched, failed := p.Vouched()
	err = errors.Join(err, failed)
	for _, v := range vouched {
		_, failed := p.Unvouch(v.Source.Addr())
		err = errors.Join(err, failed)
	}
	return err
}

// Forget empties hashes and zeroes arrays, by their names in bpf/maps.h.
func (p *Plane) Forget(names ...string) error {
	var errs []error
	for _, name := range names {
		m, err := p.Map(name)
		switch {
		case err != nil:
		case m.Type() == ebpf.Array, m.Type() == ebpf.PerCPUArray:
			err = p.zero(name, m)
		default:
			err = empty(m)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("forget %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// empty deletes every row of a hash.
func empty(m *ebpf.Map) error {
	var key, value []byte
	var keys [][]byte
	it := m.Iterate()
	for it.Next(&key, &value) {
		keys = append(keys, key)
		key = nil
	}
	err := it.Err()
	for _, k := range keys {
		err = errors.Join(err, m.Delete(k))
	}
	return err
}

// zeros are all keys of an array, and a zero for each, on each processor.
type zeros struct {
	keys   []uint32
	values any
}

func newZeros(m *ebpf.Map) zeros {
	z := zeros{keys: make([]uint32, m.MaxEntries())}
	for i := range z.keys {
		z.keys[i] = uint32(i)
	}
	n := len(z.keys)
	if m.Type() == ebpf.PerCPUArray {
		n *= ebpf.MustPossibleCPU()
	}
	value := reflect.ArrayOf(int(m.ValueSize()), reflect.TypeFor[byte]())
	z.values = reflect.MakeSlice(reflect.SliceOf(value), n, n).Interface()
	return z
}

// zero writes zeros into all entries at once. They are made once: to allocate them takes longer than to write them.
func (p *Plane) zero(name string, m *ebpf.Map) error {
	z, ok := p.zeros[name]
	if !ok {
		z = newZeros(m)
		p.zeros[name] = z
	}
	_, err := m.BatchUpdate(z.keys, z.values, nil)
	return err
}
