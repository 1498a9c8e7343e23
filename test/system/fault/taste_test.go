// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/test/support/world"
	"github.com/spillway/spillway/test/system/fault/inject"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/taste"
)

const tastedHost = `version: 1
max_mode: enforce
interfaces: [{name: eth0}]
services: [{name: web, port: 443, kind: tls}]
golden: [{name: shop, service: web, ja4: t13d1516h2_8daaf6152771_02713d6af862}]
`

const tastedBundle = `version: 1
name: feed
rules: [{id: bad, label: denied, score: 100}]
features: {prefixes: [{list: own, rule: bad, entries: [203.0.113.0/24, "2001:db8:bad::/48"]}]}
policy: {default: {drop: 80}}
`

// kitchen is a dataplane, attached nowhere, whose next generation is tasted.
type kitchen struct {
	d       *loader.Dataplane
	req     taste.Request
	program []string
}

func newKitchen(t *testing.T, in *inject.Listener, folder string) *kitchen {
	t.Helper()
	k := &kitchen{program: append(in.Wrapper(), world.Binary(t), taste.Command)}
	pins := filepath.Join("/sys/fs/bpf", filepath.Base(folder))
	t.Cleanup(func() {
		if err := errors.Join(loader.DetachPins(pins), os.RemoveAll(pins)); err != nil {
			t.Error(err)
		}
	})
	h, err := config.ParseHost("spillway.yaml", []byte(tastedHost))
	world.Must(t, err)
	k.d, err = loader.Open(loader.Options{Pins: pins})
	world.Must(t, err)
	t.Cleanup(func() { _ = k.d.Close() })
	host, err := compile.HostFile(h, nil, 1)
	world.Must(t, err)
	slot, err := k.d.BuildHost(host)
	world.Must(t, err)
	_, err = k.d.Publish(loader.Change{Host: &slot})
	world.Must(t, err)
	current, err := k.d.Host()
	world.Must(t, err)
	b, err := config.ParseBundle("bundle.yaml", []byte(tastedBundle), os.DirFS(folder), h, config.BundleOptions{})
	world.Must(t, err)
	store, err := state.Open(filepath.Join(folder, "state"), state.Options{})
	world.Must(t, err)
	world.Must(t, errors.Join(store.SaveBundle(b), store.Close()))
	k.req = taste.Request{ID: "r-1", Digest: b.Digest, Number: 7, State: filepath.Join(folder, "state"), Pins: pins,
		HostText: tastedHost, Host: current, Clock: loader.Now(), Capacity: h.Capacity, Golden: true}
	return k
}

func (k *kitchen) taste() taste.Result {
	return taste.Start(context.Background(), k.req, taste.Options{Program: k.program,
		Limits: taste.Limits{Wall: time.Minute, Memory: 2 << 30, Output: 1 << 20, Stuck: 10 * time.Second}})
}

// A child that is killed at any call condemns nobody and leaves nothing: nothing is in force, resident or pinned.
func TestTasteKilledAnywhere(t *testing.T) {
	folder, err := os.MkdirTemp("", "spillway-taste-")
	world.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	in, err := inject.Listen(folder, inject.BPF, folder)
	world.Must(t, err)
	t.Cleanup(func() { _ = in.Close() })
	k := newKitchen(t, in, folder)
	in.Arm(0, inject.Fault{})
	whole := k.taste()
	report, err := in.Disarm()
	world.Must(t, err)
	if whole.Outcome != rollout.TastePassed {
		t.Fatalf("undisturbed: %+v", whole.Taste)
	}
	before := k.d.Control()
	for _, at := range some(dice(t), report.Seen, 6) {
		in.Arm(at, inject.Fault{Kill: true})
		r := k.taste()
		met, err := in.Disarm()
		world.Must(t, err)
		k.nothingIsLeft(t, at, met, r, before)
	}
	k.itPasses(t, in)
}

func (k *kitchen) nothingIsLeft(t *testing.T, at int, met inject.Report, r taste.Result, before loader.Control) {
	t.Helper()
	t.Logf("call %d, %s: %s", at, met.Hit, r.Detail)
	if met.Hit != "" && (r.Outcome != rollout.TasteFailed || r.Number != 0) {
		t.Errorf("call %d, %s: %+v", at, met.Hit, r.Taste)
	}
	if slot, _ := r.Adopt(k.d); met.Hit != "" && slot != 0 {
		t.Errorf("call %d, %s: adopted into slot %d", at, met.Hit, slot)
	}
	all, err := k.d.Generations()
	world.Must(t, err)
	left, _ := os.ReadDir(filepath.Join(k.req.Pins, "taste"))
	if met.Hit != "" && (k.d.Control() != before || len(all) > 0 || len(left) > 0) {
		t.Errorf("call %d, %s: %+v, %d generations, left %v", at, met.Hit, k.d.Control(), len(all), left)
	}
}

// itPasses says that what was left before is in nobody's way.
func (k *kitchen) itPasses(t *testing.T, in *inject.Listener) {
	t.Helper()
	in.Arm(0, inject.Fault{})
	slot, ends := k.taste().Adopt(k.d)
	_, err := in.Disarm()
	world.Must(t, err)
	all, err := k.d.Generations()
	world.Must(t, err)
	there := slices.ContainsFunc(all, func(g loader.GenerationInfo) bool { return g.Slot == slot && g.Number == 7 })
	if slot == 0 || !there {
		t.Errorf("afterwards: slot %d, %+v, %+v", slot, ends, all)
	}
	world.Must(t, taste.Sweep(k.req.Pins))
}
