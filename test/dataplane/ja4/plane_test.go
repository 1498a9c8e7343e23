// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	support "github.com/spillway/spillway/test/support/plane"
)

// Ports of the services. far's sockets are elsewhere: a SYN and a payload make a flow there.
const (
	webPort = 443
	farPort = 8443
)

// plane is a dataplane with all its maps at hand. t is the test that has it now.
type plane struct {
	*support.Plane
	t        *testing.T
	maps     map[string]*ebpf.Map // those that all programs share
	rules    map[uint16]string    // of the stable generation, by index
	generous *ebpf.Collection     // the programs once more, see spendFreely
}

func openPlane(name string, capacity config.Capacity) (*plane, error) {
	own, err := support.Open(name, loader.Options{Capacity: capacity, Lab: true})
	if err != nil {
		return nil, err
	}
	p := &plane{Plane: own, maps: map[string]*ebpf.Map{}}
	spec, err := bpf.LoadDataplane()
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	for _, name := range support.Shared(spec.Maps) {
		if p.maps[name], err = p.Map(name); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	return p, nil
}

func (p *plane) close() error {
	if p.generous != nil {
		p.generous.Close()
	}
	return p.Plane.Close()
}

func (p *plane) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// spendFreely puts the same programs behind the root program, but with budgets for new shapes that no test reaches.
// Differential tests show thousands of shapes a second; what the product's budgets do has tests of its own.
func (p *plane) spendFreely() {
	p.t.Helper()
	if p.generous == nil {
		p.must(p.loadGenerous())
	}
	next, err := p.Map(bpf.RootMapRootNext)
	p.must(err)
	p.must(support.PutBehind(p.generous, next))
}

func (p *plane) loadGenerous() error {
	spec, err := bpf.LoadDataplane()
	if err != nil {
		return err
	}
	for name, m := range p.maps {
		spec.Maps[name].MaxEntries = m.MaxEntries()
	}
	var s bpf.Settings
	settings := spec.Variables[bpf.DataplaneVarSettings]
	if err := settings.Get(&s); err != nil {
		return err
	}
	s.SynMask = p.maps[bpf.DataplaneMapSyns].MaxEntries() - 1
	s.HelloMask = p.maps[bpf.DataplaneMapHellos].MaxEntries() - 1
	s.ShapeBudgetMask = p.maps[bpf.DataplaneMapShapeBudgets].MaxEntries() - 1
	s.RulesMax = p.maps[bpf.DataplaneMapRuleHits].MaxEntries() / bpf.Slots
	s.ShapesPerSecond, s.ShapesPerPrefix, s.UnprovenPerSecond = 1<<30, 1<<30, 1<<30
	s.IsLab = 1
	if err := settings.Set(&s); err != nil {
		return err
	}
	p.generous, err = ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: p.maps})
	return err
}

// renew forgets everything that an earlier test left.
func (p *plane) renew() {
	p.t.Helper()
	p.must(p.RefillPrograms())
	if _, err := p.DropGenerations(); err != nil {
		p.must(err)
	}
	p.SetTripped(0)
	p.SetLease(0)
	p.forget()
	p.publishHost(site())
	p.swap(bundle().bundle())
	p.must(p.SetMode(config.ModeEnforce))
	p.Beat()
}

// forget empties what the kernel remembers of connections and shapes.
func (p *plane) forget() {
	p.t.Helper()
	p.must(p.Forget(bpf.DataplaneMapFlows, bpf.DataplaneMapShapes, bpf.DataplaneMapShapesListed, bpf.DataplaneMapHellos,
		bpf.DataplaneMapHelloSets, bpf.DataplaneMapSyns))
	p.refillBudgets()
}

// refillBudgets gives every processor its second's budget for new shapes back.
func (p *plane) refillBudgets() {
	p.t.Helper()
	p.must(p.Forget(bpf.DataplaneMapWorkspaces, bpf.DataplaneMapShapeBudgets))
}

func (p *plane) publishHost(h *config.Host) {
	p.t.Helper()
	slot, err := p.MakeHost(h)
	p.must(err)
	p.change(loader.Change{Host: &slot})
}

// swap makes b the stable generation.
func (p *plane) swap(b *config.Bundle) {
	p.t.Helper()
	p.must(p.Swap(b))
	p.rules = map[uint16]string{}
	for i, r := range b.Rules {
		p.rules[uint16(i)] = r.ID
	}
}

// try makes b the candidate for a share of sources, in permille, under a lease of an hour.
func (p *plane) try(b *config.Bundle, share uint16) {
	p.t.Helper()
	p.must(p.Try(b, share))
}

func (p *plane) change(c loader.Change) {
	p.t.Helper()
	_, err := p.Publish(c)
	p.must(err)
}

// flow returns what the kernel keeps of a connection; ok is false when it knows none.
func (p *plane) flow(from, to netip.AddrPort) (flow bpf.Flow, ok bool) {
	p.t.Helper()
	err := p.maps[bpf.DataplaneMapFlows].Lookup(p.NameOf(support.KeyOf(from, to)), &flow)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return flow, false
	}
	p.must(err)
	return flow, true
}

// run sends one frame and returns what becomes of it.
func (p *plane) run(frame []byte) string {
	p.t.Helper()
	action, _, err := p.Run(frame)
	p.must(err)
	switch action {
	case 1:
		return "XDP_DROP"
	case 2:
		return "XDP_PASS"
	}
	return fmt.Sprintf("XDP action %d", action)
}

// lockPlaces says of all places among the hellos that are not whole that somebody took them then.
func (p *plane) lockPlaces(ns uint64) {
	p.t.Helper()
	p.must(support.Fill(p.maps[bpf.DataplaneMapHellos], bpf.Hello{LockNs: ns}))
}
