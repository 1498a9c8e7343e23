// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
)

func TestVouched(t *testing.T) {
	c := config.DefaultHost().Capacity
	c.Vouched = 2
	d := openTest(t, Options{Capacity: c})
	publish(t, d, testHost(), testBundle("198.51.100.0/24"))
	one, six := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8:1:2:3:4:5:6")
	if err := d.Vouch(netip.MustParseAddr("::ffff:198.51.100.1"), time.Hour); err != nil {
		t.Fatal(err)
	}
	wantAction(t, d, "vouched", syn("198.51.100.1", "192.0.2.1", 443), xdpPass)
	wantAction(t, d, "its neighbour", syn("198.51.100.2", "192.0.2.1", 443), xdpDrop)
	if err := d.Vouch(six, time.Minute); err != nil {
		t.Fatal(err)
	}
	got, err := d.Vouched()
	if err != nil || len(got) != 2 {
		t.Fatalf("vouched: %+v, %v", got, err)
	}
	for _, v := range got {
		left := time.Until(v.Expires).Round(time.Minute)
		if want := map[string]time.Duration{"198.51.100.1/32": time.Hour,
			"2001:db8:1:2::/64": time.Minute}[v.Source.String()]; left != want {
			t.Errorf("%s has %v left, want %v", v.Source, left, want)
		}
	}
	if err := d.Vouch(netip.MustParseAddr("203.0.113.1"), time.Hour); !errors.Is(err, ErrCapacity) {
		t.Errorf("a third source in a map of two: %v", err)
	}
	if was, err := d.Unvouch(netip.MustParseAddr("2001:db8:1:2::1")); err != nil || !was {
		t.Errorf("another address of the /64: %v, %v", was, err)
	}
	if was, err := d.Unvouch(one); err != nil || !was {
		t.Errorf("unvouch: %v, %v", was, err)
	}
	if was, err := d.Unvouch(one); err != nil || was {
		t.Errorf("unvouch again: %v, %v", was, err)
	}
	wantAction(t, d, "not vouched any more", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
}

// An ended vouch spares nobody, takes no place from one that is needed, and goes with the next sweep.
func TestVouchesEnd(t *testing.T) {
	c := config.DefaultHost().Capacity
	c.Vouched = 1
	d := openTest(t, Options{Capacity: c})
	publish(t, d, testHost(), testBundle("198.51.100.0/24"))
	if err := d.Vouch(netip.MustParseAddr("198.51.100.1"), -time.Second); err != nil {
		t.Fatal(err)
	}
	wantAction(t, d, "ended", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
	if got, err := d.Vouched(); err != nil || len(got) != 0 {
		t.Errorf("vouched: %+v, %v", got, err)
	}
	if err := d.Vouch(netip.MustParseAddr("198.51.100.2"), time.Hour); err != nil {
		t.Errorf("all places are taken by what has ended: %v", err)
	}
	wantAction(t, d, "vouched", syn("198.51.100.2", "192.0.2.1", 443), xdpPass)
	if n, err := d.SweepVouched(); err != nil || n != 0 {
		t.Errorf("swept %d, %v: the vouch is in force", n, err)
	}
	wantAction(t, d, "swept beside it", syn("198.51.100.2", "192.0.2.1", 443), xdpPass)
	if err := d.Vouch(netip.MustParseAddr("198.51.100.2"), -time.Second); err != nil {
		t.Fatal(err)
	}
	if n, err := d.SweepVouched(); err != nil || n != 1 {
		t.Errorf("swept %d, %v; one vouch had ended", n, err)
	}
	if until := d.Words.at.VouchedUntilNs; until != 0 {
		t.Errorf("nobody is vouched for, and packets still look, until %d", until)
	}
}

// The web server vouches against bundles; a ban is an operator's.
func TestABanHoldsAboveAVouch(t *testing.T) {
	d := openTest(t, Options{})
	publish(t, d, testHost(), testBundle("198.51.100.0/24"))
	source := netip.MustParseAddr("198.51.100.1")
	if err := d.Vouch(source, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := d.Ban(netip.PrefixFrom(source, 32), time.Hour); err != nil {
		t.Fatal(err)
	}
	wantAction(t, d, "vouched and banned", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
}

func TestVerifyVouched(t *testing.T) {
	d := openTest(t, Options{})
	for _, a := range []string{"198.51.100.1", "2001:db8:1:2:3:4:5:6"} {
		if err := d.Vouch(netip.MustParseAddr(a), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if drifts, err := d.VerifyVouched(); err != nil || len(drifts) != 0 {
		t.Errorf("nothing is wrong: %+v, %v", drifts, err)
	}
	m := d.maps[bpf.DataplaneMapVouched]
	if err := m.Put(bpf.VouchedKey{Addr: compile.Mapped(netip.MustParseAddr("2001:db8::1"))}, uint64(1)); err != nil {
		t.Fatal(err)
	}
	d.Words.at.VouchedUntilNs = 0 // as a crash leaves it between the row and the word
	drifts, err := d.VerifyVouched()
	if err != nil || len(drifts) != 3 {
		t.Errorf("an address inside a /64, and two vouches that no packet sees: %+v, %v", drifts, err)
	}
	if _, err := d.SweepVouched(); err != nil {
		t.Fatal(err)
	}
	if drifts, err := d.VerifyVouched(); err != nil || len(drifts) != 0 {
		t.Errorf("after a sweep: %+v, %v", drifts, err)
	}
}
