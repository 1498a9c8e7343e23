// SPDX-License-Identifier: Apache-2.0

package fingerprints

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/catalogue"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
)

// own returns the catalogue's signatures, each once, the narrow before the wide: none then takes the SYNs of another.
// No bundle has more of one layout than the dataplane tries.
func own(t *testing.T) (bundles [][]signature.P0F) {
	t.Helper()
	known, err := catalogue.Load()
	if err != nil {
		t.Fatal(err)
	}
	wide := func(s signature.P0F) (open int) {
		for _, so := range []bool{s.Version == 0, s.RandomTTL, s.MSS == nil, s.Window.Kind == signature.WindowAny,
			s.Scale == nil, s.Payload == signature.PayloadAny} {
			if so {
				open++
			}
		}
		return open
	}
	var all []signature.P0F
	for _, stack := range known.Stacks {
		all = append(all, stack.P0F...)
	}
	slices.SortStableFunc(all, func(a, b signature.P0F) int { return wide(a) - wide(b) })
	met, layouts := map[string]bool{}, map[string]int{}
	for _, s := range all {
		if met[s.String()] {
			continue
		}
		met[s.String()] = true
		layout := signature.FormatLayout(s.Layout, s.EOLPad)
		at := layouts[layout] / signature.MaxP0FBucket
		layouts[layout]++
		if at == len(bundles) {
			bundles = append(bundles, nil)
		}
		bundles[at] = append(bundles[at], s)
	}
	return bundles
}

// publish makes the signatures the stable generation, signature n the only feature of rule n, and returns its slot.
func publish(t *testing.T, d *loader.Dataplane, signatures []signature.P0F) uint8 {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	h := config.DefaultHost()
	h.Services = []config.Service{{Name: "web", Port: 443, Addresses: []config.Address{{}}, Kind: config.KindTLS}}
	b := &config.Bundle{Version: 1, Name: "stacks", Policy: map[string]config.Policy{config.DefaultPolicy: {Drop: 80}}}
	for i, s := range signatures {
		id := fmt.Sprintf("rule-%d", i)
		b.Rules = append(b.Rules, config.Rule{ID: id, Label: id, Score: 100})
		b.P0F = append(b.P0F, config.P0FFeature{Rule: id, Signature: s})
	}
	current, err := d.Host()
	must(err)
	host, err := compile.HostFile(h, current, 1)
	must(err)
	number, err := d.NextNumber()
	must(err)
	image, err := compile.Bundle(b, host, number, loader.Now())
	must(err)
	hostSlot, err := d.BuildHost(host)
	must(err)
	slot, err := d.Build(image)
	must(err)
	mode := loader.ModeOf(config.ModeEnforce)
	_, err = d.Publish(loader.Change{Host: &hostSlot, Stable: &slot, Mode: &mode})
	must(err)
	d.Beat()
	return slot
}

// As features of a bundle, each published signature alone decides about the SYN made from it.
func TestPublishedSignaturesDecide(t *testing.T) {
	opening, err := loader.Open(
		loader.Options{Capacity: config.Capacity{Prefixes4: 1, Prefixes6: 1, TCPFingerprints: 1, TCPSignatures: 64,
			JA4s: 1, Rules: 64, Flows: 1024, Syns: 64, Hellos: 8, Shapes: 64, Bans: 1, Allowlist: 1, Services: 1}})
	d := opened(t, opening, err)
	port := uint16(40000)
	dropped := map[string]uint64{}
	for _, signatures := range own(t) {
		slot := publish(t, d, signatures)
		want := map[uint16]uint64{}
		for i, s := range signatures {
			for _, version := range s.Versions() {
				if _, _, err := d.Run(published{s, version, 5, port}.frame()); err != nil {
					t.Fatal(err)
				}
				port++
				dropped["tcp_signature drop"]++
				want[uint16(i)]++
				hits, err := d.RuleHits(slot)
				if delta := cmp.Diff(want, hits); delta != "" || err != nil {
					t.Fatalf("rules that matched after a SYN of %s, rule %d, %v (-want +got):\n%s", s, i, err, delta)
				}
			}
		}
	}
	counters, err := d.Counters()
	if err != nil || len(counters) == 0 {
		t.Fatalf("counters %v, %v", counters, err)
	}
	got := map[string]uint64{}
	for _, c := range counters {
		got[bpf.ReasonName(c.Reason)+" "+bpf.OutcomeName(c.Outcome)] += c.Packets
	}
	if delta := cmp.Diff(dropped, got); delta != "" {
		t.Errorf("counters (-want +got):\n%s", delta)
	}
}
