// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/pins"
)

// asLayout runs f as a build of another ABI number would.
func asLayout(t *testing.T, number uint64, f func()) {
	t.Helper()
	own := pins.Layout
	pins.Layout = number
	defer func() { pins.Layout = own }()
	f()
}

const later = 1003

// decide builds host and bundle in a dataplane that is not in force yet, as an agent does from disk.
func decide(t *testing.T, d *Dataplane, prefixes ...string) {
	t.Helper()
	publish(t, d, testHost(), testBundle(prefixes...))
}

// F2: an upgrade builds beside, carries over, and is one store: until then the layout before decides, afterwards the
// new one, and nothing of the old is left.
func TestF2UpgradeIsOneStore(t *testing.T) {
	folder := testPins(t)
	old := openTest(t, Options{Pins: folder})
	decide(t, old, "198.51.100.0/24")
	banned := netip.MustParsePrefix("203.0.113.9/32")
	if err := old.Ban(banned, time.Hour); err != nil {
		t.Fatal(err)
	}
	web, _ := mustHost(t, old).Service("web")
	dns, _ := mustHost(t, old).Service("dns")
	old.SetServiceBypass(dns.ID, DeadlineForever)
	blocked, blocked6, passing := flowKey("198.51.100.9", 1), flowKey("2001:db8::9", 1), flowKey("198.51.100.9", 2)
	for key, verdict := range map[bpf.FlowKey]bpf.Verdict{
		blocked: bpf.VerdictDrop, blocked6: bpf.VerdictDrop, passing: bpf.VerdictPass} {
		putFlow(t, old, key, bpf.Flow{Verdict: uint8(verdict), Isn: 7})
	}
	if err := old.Vouch(netip.MustParseAddr("198.51.100.99"), time.Hour); err != nil {
		t.Fatal(err)
	}
	seed, before := old.Words.at.Seed, old.Control()
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}

	asLayout(t, later, func() {
		d := openTest(t, Options{Pins: folder})
		p := d.Predecessor()
		if p == nil || p.Layout != bpf.ABIVersion || !p.Known || p.Mode != before.Mode || p.Stable == nil ||
			p.Stable.Digest != [32]byte{1, 2, 3} || len(p.Links) != 0 {
			t.Fatalf("predecessor %+v", p)
		}
		wantAction(t, d, "the old one decides", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
		decide(t, d, "198.51.100.0/24", "192.0.2.128/25")
		wantAction(t, d, "still", syn("192.0.2.129", "192.0.2.1", 443), xdpPass)
		if err := d.CarryOver(); err != nil {
			t.Fatal(err)
		}
		if err := d.TakeOver(); err != nil {
			t.Fatal(err)
		}
		wantAction(t, d, "the new one decides", syn("192.0.2.129", "192.0.2.1", 443), xdpDrop)
		wantAction(t, d, "a vouched source of before", syn("198.51.100.99", "192.0.2.1", 443), xdpPass)
		wantAction(t, d, "a ban of before", syn("203.0.113.9", "192.0.2.1", 443), xdpDrop)
		if d.Words.at.Seed != seed || d.Layout() != later || d.Predecessor() != nil {
			t.Errorf("seed %v, was %v; layout %d", d.Words.at.Seed, seed, d.Layout())
		}
		if !d.ServiceBypass(dns.ID).Active() || d.ServiceBypass(web.ID).Active() {
			t.Error("the bypass of a service is not what it was")
		}
		var f bpf.Flow
		for _, key := range []bpf.FlowKey{blocked, blocked6} {
			name := d.NameOf(key)
			if err := d.maps[bpf.DataplaneMapFlows].Lookup(name, &f); err != nil || f.Isn != 7 ||
				f.Epoch == d.Control().Epoch || name.Key(&f) != key {
				t.Errorf("the blocked connection: %+v, %v", f, err)
			}
		}
		if err := d.maps[bpf.DataplaneMapFlows].Lookup(d.NameOf(passing), &f); err == nil {
			t.Error("a passing connection was carried over")
		}
		if _, err := os.Stat(pins.Folder{Path: folder, Of: bpf.ABIVersion}.Base()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the old folder: %v", err)
		}
		if drifts, err := d.VerifyWiring(); err != nil || len(drifts) > 0 {
			t.Errorf("wiring %+v, %v", drifts, err)
		}
	})

	// The build before meets it: it reads the root and nothing else.
	var foreign *pins.ForeignError
	if _, err := Adopt(folder); !errors.As(err, &foreign) || foreign.Layout != later || !foreign.Newer() {
		t.Errorf("adopt a later layout: %v", err)
	}
	if _, err := Open(Options{Pins: folder}); !errors.As(err, &foreign) {
		t.Errorf("open a later layout: %v", err)
	}
	r, err := OpenRoot(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	asLayout(t, later, func() {
		d := openTest(t, Options{Pins: folder})
		wantAction(t, d, "untouched by the build before", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
		r.SetBypass(DeadlineForever)
		wantAction(t, d, "bypassed by the build before", syn("198.51.100.1", "192.0.2.1", 443), xdpPass)
	})
}

func mustHost(t *testing.T, d *Dataplane) *compile.HostInfo {
	t.Helper()
	h, err := d.Host()
	if err != nil || h == nil {
		t.Fatalf("host %v, %v", h, err)
	}
	return h
}

// F2: what was cut short before the store is nobody's: the next start begins anew. After the store it goes on from
// there.
func TestF2UpgradeCutShort(t *testing.T) {
	folder := testPins(t)
	old := openTest(t, Options{Pins: folder})
	decide(t, old, "198.51.100.0/24")
	asLayout(t, later, func() {
		first := openTest(t, Options{Pins: folder})
		decide(t, first, "203.0.113.0/24")
		// Killed: no Close, so what it built stays.
		second := openTest(t, Options{Pins: folder})
		if c := second.Control(); second.Predecessor() == nil || c != (Control{}) {
			t.Errorf("begins with %+v", c)
		}
		decide(t, second, "198.51.100.0/24")
		if err := second.putInForce(); err != nil { // killed after the store
			t.Fatal(err)
		}
		if _, err := os.Stat(old.pins.Base()); err == nil {
			third := openTest(t, Options{Pins: folder})
			if third.Predecessor() != nil {
				t.Error("the predecessor is still there after the store")
			}
			wantAction(t, third, "after the store", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
			if _, err := os.Stat(pins.Folder{Path: folder, Of: bpf.ABIVersion}.Base()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the old folder: %v", err)
			}
		}
	})
}

// F2: a dataplane that could not be filled leaves nothing, and the one before goes on.
func TestF2UpgradeGivenUp(t *testing.T) {
	folder := testPins(t)
	old := openTest(t, Options{Pins: folder})
	decide(t, old, "198.51.100.0/24")
	asLayout(t, later, func() {
		d := openTest(t, Options{Pins: folder})
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(pins.Folder{Path: folder}.Base()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it left something: %v", err)
		}
	})
	wantAction(t, old, "the one before", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
	if drifts, err := old.VerifyWiring(); err != nil || len(drifts) > 0 {
		t.Errorf("wiring %+v, %v", drifts, err)
	}
}
