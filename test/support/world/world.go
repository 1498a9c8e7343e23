// SPDX-License-Identifier: Apache-2.0

// Package world is what end-to-end tests share: a lab whose edge has the dataplane attached, published by hand.
//
//	visitors, crawler, scanner (out0) ─── veth ─── (edge0: XDP) origin
package world

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/test/support/plane"
	"github.com/spillway/spillway/userspace/lab"
)

// World is a lab with the dataplane attached to the edge. Everything is taken away when the test ends.
type World struct {
	*lab.Lab
	Dataplane *loader.Dataplane
	Pins      string
	Host      *config.Host

	t testing.TB
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("these tests make network namespaces: root is needed")
	}
	t.Skip("left out: network namespaces need root")
}

// Program finds a program; without it the test is left out, and in CI it fails.
func Program(t testing.TB, name string) string {
	t.Helper()
	for _, candidate := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing: `make deps` installs it", name)
	}
	t.Skipf("left out: %s is missing; `make deps` installs it", name)
	return ""
}

// New makes a world; it fails the test, or skips it visibly without root (never in CI).
func New(t testing.TB) *World {
	t.Helper()
	needRoot(t)
	l, err := lab.New(t.Context(), lab.Options{Name: "e2e"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	w := &World{Lab: l, t: t, Pins: testPins(t), Host: plane.WebHost()}
	w.open()
	return w
}

func testPins(t testing.TB) string {
	t.Helper()
	Must(t, plane.MountBPFFS())
	pins := plane.NewPins("e2e")
	t.Cleanup(func() {
		if err := loader.DetachPins(pins); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return pins
}

// Map opens a map of the dataplane by its name in bpf/maps.h, for as long as the test runs.
func (w *World) Map(name string) *ebpf.Map {
	w.t.Helper()
	m, err := plane.OpenMap(w.Pins, name)
	Must(w.t, err)
	w.t.Cleanup(func() { _ = m.Close() })
	return m
}

func (w *World) open() {
	w.t.Helper()
	err := w.Edge.Do(func() error {
		d, err := loader.Open(loader.Options{Pins: w.Pins, Capacity: w.Host.Capacity})
		if err != nil {
			return err
		}
		w.Dataplane = d
		_, err = d.Attach(w.EdgeIf, config.AttachNative)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	d := w.Dataplane
	w.t.Cleanup(func() { _ = d.Close() })
}

// Publish builds host and bundle and points the control word at them.
func (w *World) Publish(h *config.Host, b *config.Bundle) {
	w.t.Helper()
	Must(w.t, plane.Enforce(w.Dataplane, h, b))
}

// Must fails the test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Packets sums the counters that fit; a negative reason or outcome fits all.
func (w *World) Packets(reason, outcome int) uint64 {
	w.t.Helper()
	counters, err := w.Dataplane.Counters()
	Must(w.t, err)
	var sum uint64
	for _, c := range counters {
		if (reason < 0 || bpf.Reason(reason) == c.Reason) && (outcome < 0 || bpf.Outcome(outcome) == c.Outcome) {
			sum += c.Packets
		}
	}
	return sum
}

// Bundle makes a bundle that drops from score 80 on.
func Bundle(rules []config.Rule, edit func(*config.Bundle)) *config.Bundle {
	b := &config.Bundle{
		Version: 1, Name: "e2e", Rules: rules,
		Policy: map[string]config.Policy{config.DefaultPolicy: {Drop: 80}},
		Digest: config.Digest{byte(len(rules)), 1},
	}
	if edit != nil {
		edit(b)
	}
	return b
}

// BadRule is one rule of score 100.
var BadRule = []config.Rule{{ID: "bad", Label: "bad", Score: 100}}

// Denied is where the crawler comes from.
func Denied() []netip.Prefix { return []netip.Prefix{lab.CrawlerPrefix4, lab.CrawlerPrefix6} }

// Eventually waits for a fact, with a deadline.
func Eventually(t testing.TB, what string, check func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !check() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen within a minute: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Origin starts the web server behind the edge.
func (w *World) Origin(ctx context.Context) lab.Origin {
	w.t.Helper()
	o, err := w.StartOrigin(ctx, lab.OriginOptions{})
	Must(w.t, err)
	w.t.Cleanup(func() { _ = o.Close() })
	return o
}

// Try makes a bundle the candidate for everybody, under a lease of an hour. The host file in force stays.
func (w *World) Try(h *config.Host, b *config.Bundle) error {
	w.t.Helper()
	p := plane.Plane{Dataplane: w.Dataplane}
	_, err := p.MakeHost(h)
	Must(w.t, err)
	err = p.Try(b, 1000)
	w.Dataplane.Beat()
	return err
}
