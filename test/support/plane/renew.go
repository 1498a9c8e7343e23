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
}

// Renew makes the plane what Open returns, but for its age: epochs and numbers go on, its seed stays, and what nobody
// read of the ring of events is still there. A load of the programs costs most of a second; this costs a few milliseconds.
func (p *Plane) Renew() error {
	if err := p.RefillPrograms(); err != nil {
		return err
	}
	_, err := p.DropGenerations()
	errs := []error{err, p.SetMode(config.ModeObserve), p.renewHost(), p.renewBans()}
	p.SetBypass(0)
	p.SetTripped(0)
	p.SetLease(0)
	p.SetBaked(0)
	p.SetTellAll(0)
	for _, name := range remembered {
		m, err := p.Map(name)
		if err == nil {
			err = forget(m)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
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

// forget empties a hash, and zeroes an array.
func forget(m *ebpf.Map) error {
	var err error
	switch m.Type() {
	case ebpf.Array:
		err = zero(m, 1)
	case ebpf.PerCPUArray:
		err = zero(m, ebpf.MustPossibleCPU())
	default:
		var key, value []byte
		var keys [][]byte
		it := m.Iterate()
		for it.Next(&key, &value) {
			keys = append(keys, key)
			key = nil
		}
		err = it.Err()
		for _, k := range keys {
			err = errors.Join(err, m.Delete(k))
		}
	}
	if err != nil {
		return fmt.Errorf("forget %v: %w", m, err)
	}
	return nil
}

// zero writes zeros into all entries at once, one for each processor.
func zero(m *ebpf.Map, processors int) error {
	n := int(m.MaxEntries())
	keys := make([]uint32, n)
	for i := range keys {
		keys[i] = uint32(i)
	}
	value := reflect.ArrayOf(int(m.ValueSize()), reflect.TypeFor[byte]())
	_, err := m.BatchUpdate(keys, reflect.MakeSlice(reflect.SliceOf(value), n*processors, n*processors).Interface(), nil)
	return err
}
