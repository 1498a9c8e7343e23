// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/pins"
	support "github.com/spillway/spillway/test/support/plane"
)

// plane is a dataplane in one state, with pins of its own so that its maps can be filled from outside. Cases that need
// different states have different planes: nothing changes between rounds.
type plane struct {
	*support.Plane
	name  string
	root  *ebpf.Program
	flows *ebpf.Map
}

// planeOptions says how a plane differs from one with a host file of three services and an empty bundle.
type planeOptions struct {
	flows    int // capacity; 0: the default
	host     func(*config.Host)
	bundle   func(*config.Bundle)
	tracking bool // connection tracking is asked
	try      bool // a candidate like it is compared with it
	bake     bool // it is held to a budget, and compared with one before it that denies nothing
}

// service is the destination of everything that is not said to go elsewhere.
var service = netip.MustParseAddrPort("192.0.2.1:443")

func benchHost(flows int) *config.Host {
	h := config.DefaultHost()
	h.MaxMode = config.ModeEnforce
	h.Capacity.Prefixes4, h.Capacity.Prefixes6 = 1_000_001, list6 // and the denied one
	if flows > 0 {
		h.Capacity.Flows = flows
	}
	h.Services = []config.Service{
		{Name: "web", Addresses: []config.Address{{}}, Port: 443, Kind: config.KindTLS, Local: true},
		{Name: "plain", Addresses: []config.Address{{}}, Port: 80, Kind: config.KindHTTP, Local: true},
		{Name: "far", Addresses: []config.Address{{}}, Port: elsewhere.Port(), Kind: config.KindTLS, Local: false},
	}
	return h
}

func benchBundle(edit func(*config.Bundle)) *config.Bundle {
	b := &config.Bundle{
		Version: 1, Name: "bench",
		Rules:  []config.Rule{{ID: "bad", Label: "bad", Score: 100}},
		Policy: map[string]config.Policy{config.DefaultPolicy: {Drop: 80}},
		Digest: config.Digest{1},
	}
	if edit != nil {
		edit(b)
	}
	return b
}

// deny adds prefixes to the bundle.
func deny(prefixes []netip.Prefix) func(*config.Bundle) {
	return func(b *config.Bundle) {
		b.Prefixes = []config.PrefixList{{List: "own", Rule: "bad", Entries: prefixes}}
	}
}

func newPlane(name string, o planeOptions) (_ *plane, err error) {
	host := benchHost(o.flows)
	if o.host != nil {
		o.host(host)
	}
	own, err := support.Open("bench-"+name, loader.Options{Capacity: host.Capacity, Lab: name == "hellos"})
	if err != nil {
		return nil, fmt.Errorf("make dataplane %s: %w", name, err)
	}
	p := &plane{Plane: own, name: name}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make dataplane %s: %w", name, err), p.close())
		}
	}()
	if p.root, err = ebpf.LoadPinnedProgram(filepath.Join(p.Pins, "root/program"), nil); err != nil {
		return nil, fmt.Errorf("open the root program: %w", err)
	}
	if p.flows, err = p.Map(bpf.DataplaneMapFlows); err != nil {
		return nil, err
	}
	if o.tracking {
		if err := p.Conntrack(); err != nil {
			return nil, err
		}
	}
	if err := p.enforce(host, benchBundle(o.bundle)); err != nil || !o.try && !o.bake {
		return p, err
	}
	return p, p.compared(o.bundle, o.bake)
}

// enforce puts host and bundle into force.
func (p *plane) enforce(h *config.Host, b *config.Bundle) error {
	host, err := p.MakeHost(h)
	if err != nil {
		return err
	}
	stable, err := p.MakeBundle(b)
	if err != nil {
		return err
	}
	mode := loader.ModeOf(h.MaxMode)
	_, err = p.Publish(loader.Change{Host: &host, Stable: &stable, Mode: &mode})
	p.Beat()
	return err
}

// tableOfPrefixes opens the prefixes that are in force, by the name of their map.
func (p *plane) tableOfPrefixes(name string) (*ebpf.Map, error) {
	at := pins.Folder{Path: p.Pins}
	m, err := ebpf.LoadPinnedMap(at.SlotMap(p.Control().Stable, name), nil)
	if err != nil {
		return nil, fmt.Errorf("open the prefixes of plane %s: %w", p.name, err)
	}
	return m, nil
}

func (p *plane) close() error {
	var err error
	if p.root != nil {
		err = p.root.Close()
	}
	return errors.Join(err, p.Plane.Close())
}
