// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/spillway/spillway/config"

	"github.com/spillway/spillway/loader/compile"
)

func TestBans(t *testing.T) {
	c := config.DefaultHost().Capacity
	c.Bans = 2
	d := openTest(t, Options{Capacity: c})
	publish(t, d, testHost(), testBundle())
	source := netip.MustParsePrefix("203.0.113.9/32")
	if err := d.Ban(source, time.Hour); err != nil {
		t.Fatal(err)
	}
	wantAction(t, d, "banned", syn("203.0.113.9", "192.0.2.1", 443), xdpDrop)
	wantAction(t, d, "its neighbour", syn("203.0.113.8", "192.0.2.1", 443), xdpPass)
	if bans, err := d.Bans(); err != nil || len(bans) != 1 || bans[0].Prefix != source {
		t.Errorf("bans: %+v, %v", bans, err)
	}
	if err := d.Ban(netip.MustParsePrefix("2001:db8::/64"), -time.Second); err != nil {
		t.Fatal(err)
	}
	if err := d.Ban(netip.MustParsePrefix("198.51.100.0/24"), time.Hour); !errors.Is(err, ErrCapacity) {
		t.Errorf("a third ban in a map of two: %v", err)
	}
	if n, err := d.SweepBans(); err != nil || n != 1 {
		t.Errorf("swept %d, %v; one ban had ended", n, err)
	}
	if was, err := d.Unban(source); err != nil || !was {
		t.Errorf("unban: %v, %v", was, err)
	}
	if was, err := d.Unban(source); err != nil || was {
		t.Errorf("unban again: %v, %v", was, err)
	}
	wantAction(t, d, "unbanned", syn("203.0.113.9", "192.0.2.1", 443), xdpPass)
}

// The kernel looks at the longest match only. An ended ban of one address must not hide the ban of its network.
func TestBanInsideABannedNetworkLastsAsLong(t *testing.T) {
	d := openTest(t, Options{})
	publish(t, d, testHost(), testBundle())
	address, network := netip.MustParsePrefix("203.0.113.9/32"), netip.MustParsePrefix("203.0.113.0/24")
	for _, c := range []struct {
		name string
		do   func() error
		want uint32
	}{
		{"an ended ban", func() error { return d.Ban(address, -time.Second) }, xdpPass},
		{"its network banned later", func() error { return d.Ban(network, time.Hour) }, xdpDrop},
		{"banned again and ended inside the network", func() error { return d.Ban(address, -time.Second) }, xdpDrop},
		{"the network set free", func() error { _, err := d.Unban(network); return err }, xdpPass},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		wantAction(t, d, c.name, syn("203.0.113.9", "192.0.2.1", 443), c.want)
	}
}

// IPv4 lies inside the IPv6 space of the keys. What is said of IPv6 must not reach it.
func TestWideIPv6PrefixesLeaveIPv4Alone(t *testing.T) {
	d := openTest(t, Options{})
	if err := d.Ban(netip.MustParsePrefix("::/48"), time.Hour); err == nil {
		t.Error("a ban of ::/48, and with it of all IPv4, was taken")
	}
	host := testHost()
	host.Allowlist = []config.AllowEntry{{Prefix: netip.MustParsePrefix("::/0")},
		{Prefix: netip.MustParsePrefix("198.51.100.7/32")}}
	publish(t, d, host, testBundle("198.51.100.0/24"))
	wantAction(t, d, "IPv4 beside an allowlist of all IPv6", syn("198.51.100.1", "192.0.2.1", 443), xdpDrop)
	wantAction(t, d, "an IPv4 address of its own row", syn("198.51.100.7", "192.0.2.1", 443), xdpPass)
	host.Allowlist = append(host.Allowlist, config.AllowEntry{Prefix: netip.MustParsePrefix("0.0.0.0/0")})
	publish(t, d, host, testBundle("198.51.100.0/24"))
	wantAction(t, d, "all IPv4 on the allowlist", syn("198.51.100.1", "192.0.2.1", 443), xdpPass)
}

// Whoever starts must be able to tell maps that never had a ban from maps whose bans were all ended; and a ban that a
// crash left between its row and the word that flows compare is seen again after SettleBans.
func TestBanEpoch(t *testing.T) {
	d := openTest(t, Options{})
	if d.BanEpoch() != 0 {
		t.Fatalf("new maps have ban epoch %d", d.BanEpoch())
	}
	source := netip.MustParsePrefix("203.0.113.9/32")
	if err := d.putBan(source, time.Hour); err != nil {
		t.Fatal(err)
	}
	if d.BanEpoch() != 0 {
		t.Error("a row alone moved the epoch: a crash in the middle of a restore would look complete")
	}
	if err := d.RestoreBans(
		map[netip.Prefix]time.Duration{source: time.Hour, netip.MustParsePrefix("2001:db8::/64"): time.Minute}); err != nil {
		t.Fatal(err)
	}
	bans, err := d.Bans()
	if err != nil || len(bans) != 2 || d.BanEpoch() != 1 {
		t.Errorf("%d bans, epoch %d, %v", len(bans), d.BanEpoch(), err)
	}
	if _, err := d.Unban(source); err != nil {
		t.Fatal(err)
	}
	before := d.BanEpoch()
	if err := d.SettleBans(); err != nil || d.BanEpoch() != before+1 {
		t.Errorf("epoch %d after %d, %v", d.BanEpoch(), before, err)
	}
}

// Random bans and ends, nested, beside what SettleBans says of all of them: each ban has the end that counts, whichever
// way it came.
func TestEndsOfNestedBans(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	d := openTest(t, Options{})
	for i := range 300 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(r.IntN(16))}), 24+r.IntN(9)).Masked()
		if r.IntN(3) == 0 {
			p = netip.PrefixFrom(netip.MustParseAddr("2001:db8::"), 48+16*r.IntN(6)).Masked()
		}
		if r.IntN(3) == 0 {
			if _, err := d.Unban(p); err != nil {
				t.Fatal(err)
			}
		} else if err := d.Ban(p, time.Duration(1+r.IntN(1000))*time.Minute); err != nil {
			t.Fatal(err)
		}
		all, err := d.allBans()
		if err != nil {
			t.Fatal(err)
		}
		for key, ban := range all {
			if want := latestAround(key, all); ban.ExpiresNs != want {
				t.Fatalf("after %d changes %s ends at %d, want %d", i, compile.FormatPrefix(key), ban.ExpiresNs, want)
			}
		}
	}
}
