// SPDX-License-Identifier: Apache-2.0

// Package e2e drives real traffic from real programs through the attached dataplane, in network namespaces:
//
//	visitors, crawler, scanner (out0) ─── veth ─── (edge0: XDP) nginx
package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/lab"
)

// world is a lab with an origin and the dataplane attached to the edge.
type world struct {
	*lab.Lab
	t    *testing.T
	d    *loader.Dataplane
	pins string
	host *config.Host
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("these tests make network namespaces: root is needed")
	}
	t.Skip("left out: network namespaces need root")
}

func newWorld(t *testing.T) *world {
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
	w := &world{Lab: l, t: t, pins: testPins(t), host: testHost()}
	w.open()
	return w
}

func testPins(t *testing.T) string {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/bpf", &st); err != nil || st.Type != unix.BPF_FS_MAGIC {
		if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, ""); err != nil {
			t.Fatalf("mount bpffs: %v", err)
		}
	}
	pins := filepath.Join("/sys/fs/bpf", fmt.Sprintf("spillway-e2e-%d-%d", os.Getpid(), time.Now().UnixNano()))
	t.Cleanup(func() {
		if err := loader.DetachPins(pins); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return pins
}

func (w *world) open() {
	w.t.Helper()
	err := w.Edge.Do(func() error {
		d, err := loader.Open(loader.Options{Pins: w.pins, Capacity: w.host.Capacity})
		if err != nil {
			return err
		}
		w.d = d
		_, err = d.Attach(w.EdgeIf, config.AttachNative)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	d := w.d
	w.t.Cleanup(func() { _ = d.Close() })
}

func testHost() *config.Host {
	h := config.DefaultHost()
	h.MaxMode = config.ModeEnforce
	h.Services = []config.Service{
		{Name: "web", Addresses: []config.Address{{}}, Port: 443, Kind: config.KindTLS, Local: true},
		{Name: "plain", Addresses: []config.Address{{}}, Port: 80, Kind: config.KindHTTP, Local: true},
	}
	return h
}

// publish builds host and bundle and points the control word at them.
func (w *world) publish(h *config.Host, b *config.Bundle) {
	w.t.Helper()
	current, err := w.d.Host()
	must(w.t, err)
	number, err := w.d.NextNumber()
	must(w.t, err)
	hostImage, err := loader.CompileHost(h, current, number)
	must(w.t, err)
	img, err := loader.CompileBundle(b, hostImage, number, loader.Now())
	must(w.t, err)
	hostSlot, err := w.d.BuildHost(hostImage)
	must(w.t, err)
	slot, err := w.d.Build(img)
	must(w.t, err)
	mode := loader.ModeOf(h.MaxMode)
	_, err = w.d.Publish(loader.Change{Host: &hostSlot, Stable: &slot, Mode: &mode})
	must(w.t, err)
	w.d.Beat()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// packets sums the counters that fit; a negative reason or outcome fits all.
func (w *world) packets(reason, outcome int) uint64 {
	w.t.Helper()
	counters, err := w.d.Counters()
	must(w.t, err)
	var sum uint64
	for _, c := range counters {
		if (reason < 0 || bpf.Reason(reason) == c.Reason) && (outcome < 0 || bpf.Outcome(outcome) == c.Outcome) {
			sum += c.Packets
		}
	}
	return sum
}

func bundle(rules []config.Rule, edit func(*config.Bundle)) *config.Bundle {
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

var badRule = []config.Rule{{ID: "bad", Label: "bad", Score: 100}}

func denyPrefixes(prefixes ...netip.Prefix) *config.Bundle {
	return bundle(badRule, func(b *config.Bundle) {
		b.Prefixes = []config.PrefixList{{List: "own", Rule: "bad", Entries: prefixes}}
	})
}

// denied is where the crawler comes from.
func denied() []netip.Prefix { return []netip.Prefix{lab.CrawlerPrefix4, lab.CrawlerPrefix6} }

func denySYN(t *testing.T, fingerprint string) *config.Bundle {
	t.Helper()
	fp, err := config.ParseMuonFP(fingerprint)
	must(t, err)
	return bundle(badRule, func(b *config.Bundle) { b.TCP = []config.TCPFeature{{Rule: "bad", Fingerprint: fp}} })
}

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !check() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen within 20 s: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (w *world) origin(ctx context.Context) lab.Origin {
	w.t.Helper()
	o, err := w.StartOrigin(ctx, lab.OriginOptions{})
	must(w.t, err)
	w.t.Cleanup(func() { _ = o.Close() })
	return o
}
