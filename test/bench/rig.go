// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/lab"
)

// sizes says how much is measured; tests measure little.
type sizes struct {
	flows       int // different packets of a random row
	connections int // real ones, for first payloads
	smallList   int
	hugeList    int
	rounds      int
	brief       bool
	serve       bool // for another build, see against.go
}

var (
	fullSizes  = sizes{flows: 100_000, connections: 1024, smallList: 10_000, hugeList: 1_000_000, rounds: 31}
	briefSizes = sizes{flows: 512, connections: 8, smallList: 100, hugeList: 300, rounds: 2, brief: true}
)

// seed makes every run meet the same addresses.
const seed = 20261121

// rig is everything that the program runs need, all of it resident at once.
type rig struct {
	sizes
	compare     *compareObjects
	hot         *compareObjects // with the hot flows alone, so that no other flow shares their bucket
	lookups     []*lookup
	lookup6     *compareObjects
	planes      map[string]*plane
	hugePrefix  []netip.Prefix // of the plane "huge"
	listed      []netip.AddrPort
	prefixes6   []netip.Prefix // of the plane "six"
	parts       map[string]compareSpan
	connections []connection
	closers     []func() error
}

func newRig(size sizes) (_ *rig, err error) {
	r := &rig{sizes: size, planes: map[string]*plane{}, parts: map[string]compareSpan{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	random := rand.New(rand.NewPCG(seed, 1))
	if err := r.makePlanes(random); err != nil {
		return nil, err
	}
	flows := randomSources(random, size.flows)
	any := func(int) uint32 { return 2000 }
	steps := r.part("flows", nil, flows, any)
	steps = r.part("anywhere", steps, randomAddresses(random, size.flows), any)
	if err := lab.Track(); err != nil { // for the plane "behind"
		return nil, err
	}
	if err := r.connect(size.connections); err != nil {
		return nil, err
	}
	var clients []netip.AddrPort
	for _, c := range r.connections {
		clients = append(clients, c.client)
	}
	r.listed = within(random, r.hugePrefix, size.flows)
	steps = r.part("listed", steps, r.listed, func(i int) uint32 { return uint32(i) })
	steps = r.part("denied", steps, deniedSources(size.flows), func(i int) uint32 { return uint32(i) })
	steps = r.part("handshakes", steps, clients, func(i int) uint32 { return r.connections[i].isn })
	steps = r.part("payloads", steps, clients, func(i int) uint32 { return r.connections[i].isn + 1 })
	if r.compare, err = r.loadCompare(steps); err != nil {
		return nil, err
	}
	if r.hot, err = r.loadCompare(steps[:1]); err != nil {
		return nil, err
	}
	if err := r.fillFlows(flows); err != nil {
		return nil, err
	}
	for _, l := range []struct {
		plane string
		rows  int
	}{{"base", size.smallList}, {"huge", size.hugeList}} {
		if err := r.loadLookup(random, r.planes[l.plane], l.rows); err != nil {
			return nil, err
		}
	}
	return r, r.loadLookup6()
}

// makePlanes loads a dataplane for every state that is measured.
func (r *rig) makePlanes(random *rand.Rand) error {
	fp, err := signature.ParseMuonFP(scanFingerprint)
	if err != nil {
		return err
	}
	few := 1024 // flows of a plane that keeps none
	listing := func(prefixes []netip.Prefix) func(*config.Bundle) {
		entries := append(slices.Clone(prefixes), deniedPrefix)
		return func(b *config.Bundle) {
			deny(entries)(b)
			b.TCP = []config.TCPFeature{{Rule: "bad", Fingerprint: fp}}
		}
	}
	lists := func(n int) func(*config.Bundle) { return listing(randomPrefixes(random, n)) }
	r.hugePrefix, r.prefixes6 = randomPrefixes(random, r.hugeList), randomPrefixes6(random, min(r.hugeList, list6))
	small := lists(r.smallList)
	strange := strangeBundle(small)
	type named struct {
		name string
		planeOptions
	}
	var limits []named
	for name, o := range limitPlanes(lists(r.smallList), few) {
		limits = append(limits, named{name, o})
	}
	for _, p := range append(limits, []named{
		{"base", planeOptions{bundle: small}},
		{"hot", planeOptions{bundle: small}},
		{"huge", planeOptions{flows: few, bundle: listing(r.hugePrefix)}},
		{"six", planeOptions{flows: few, bundle: listing(r.prefixes6)}},
		{"bare", planeOptions{flows: few}},
		{"bypass", planeOptions{flows: few, bundle: lists(r.smallList)}},
		{"banned", planeOptions{flows: few, bundle: lists(r.smallList)}},
		{"sockets", planeOptions{bundle: small}},
		{"hellos", planeOptions{flows: few, bundle: lists(r.smallList)}},
		{"shapes", planeOptions{flows: few, host: fewPlaces, bundle: denying(lists(r.smallList))}},
		{"behind", planeOptions{flows: few, host: behindHost, bundle: lists(r.smallList), tracking: true}},
		{"strange", planeOptions{flows: few, host: strangeHost, bundle: strange, tracking: true}},
		{"compared", planeOptions{flows: few, host: strangeHost, bundle: strange, tracking: true, try: true}},
		{"paired", planeOptions{bundle: small, try: true}},
		{"baking", planeOptions{flows: few, bundle: small, bake: true}},
	}...) {
		made, err := newPlane(p.name, p.planeOptions)
		if err != nil {
			return err
		}
		r.planes[p.name] = made
		r.closers = append(r.closers, made.close)
	}
	if err := r.computeAlways(r.planes["shapes"]); err != nil {
		return err
	}
	r.planes["bypass"].SetBypass(loader.DeadlineForever)
	return r.planes["banned"].Ban(bannedPrefix, benchBan)
}

// part appends one step for each source, and remembers where it stands.
func (r *rig) part(name string, steps []compareStep, from []netip.AddrPort, seq func(i int) uint32) []compareStep {
	r.parts[name] = compareSpan{First: uint32(len(steps)), Count: uint32(len(from))}
	for i, src := range from {
		steps = append(steps, step(src, seq(i)))
	}
	return steps
}

// loadCompare loads the comparison programs around the base plane's sizes and puts the steps into the feeder.
func (r *rig) loadCompare(steps []compareStep) (*compareObjects, error) {
	objects, err := loadCompareObjectsOf(func(spec *ebpf.CollectionSpec) error {
		spec.Maps["steps"].MaxEntries = uint32(len(steps))
		spec.Maps["same_flows"].MaxEntries = r.planes["base"].flows.MaxEntries()
		return nil
	}, nil)
	if err != nil {
		return nil, err
	}
	r.closers = append(r.closers, objects.Close)
	return objects, fillSteps(objects, steps)
}

func fillSteps(objects *compareObjects, steps []compareStep) error {
	keys := make([]uint32, len(steps))
	for i := range keys {
		keys[i] = uint32(i)
	}
	if _, err := objects.Steps.BatchUpdate(keys, steps, nil); err != nil {
		return fmt.Errorf("write the feeder's steps: %w", err)
	}
	return nil
}

// loadCompareObjectsOf loads the comparison around tables of generations.
func loadCompareObjectsOf(edit func(*ebpf.CollectionSpec) error, tables map[string]*ebpf.Map) (*compareObjects, error) {
	spec, err := loadCompare()
	if err != nil {
		return nil, fmt.Errorf("read the comparison programs: %w", err)
	}
	if err := edit(spec); err != nil {
		return nil, err
	}
	objects, options := &compareObjects{}, &ebpf.CollectionOptions{MapReplacements: tables}
	if err := spec.LoadAndAssign(objects, options); err != nil {
		return nil, fmt.Errorf("load the comparison programs: %w", err)
	}
	return objects, nil
}

func (r *rig) close() error {
	var errs []error
	for i := len(r.closers) - 1; i >= 0; i-- {
		errs = append(errs, r.closers[i]())
	}
	r.closers = nil
	return errors.Join(errs...)
}
