// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"net/netip"
	"testing"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// An image compiled for a host file and one compiled for its context are the same, and another host file differs.
func TestContextCompilesTheSameImage(t *testing.T) {
	service := func(names ...string) *config.Host {
		h := config.DefaultHost()
		for i, name := range names {
			h.Services = append(h.Services,
				config.Service{Name: name, Addresses: []config.Address{{}}, Port: uint16(443 + i), Kind: config.KindTLS,
					Local: name != "mail"})
		}
		h.Allowlist = []config.AllowEntry{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}
		return h
	}
	b := &config.Bundle{Version: 1, Name: "b",
		Policy: map[string]config.Policy{config.DefaultPolicy: {Drop: 80, Reset: 95}, "mail": {Drop: 90, Reset: 100}}}
	now := testNow()
	image := func(h *HostImage) *Image {
		t.Helper()
		img, err := Bundle(b, h, 7, now)
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	host, err := HostFile(service("web", "mail"), nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := image(host).generation
	if got := image(host.Context(config.Digest{}).Image()).generation; got != want {
		t.Errorf("for the context %+v, for the host file %+v", got, want)
	}
	if got := []uint8{want.Policies[1].Reset, want.Policies[2].Reset}; got[0] != 95 || got[1] != 0 {
		t.Errorf("scores of reset are %v, want 95 for local sockets and 0 for remote ones", got)
	}
	info := &HostInfo{Number: 1, Services: []ServiceInfo{{ID: 1, Name: "web"}, {ID: 2, Name: "mail"}}}
	next, err := HostFile(service("web", "shop"), info, 2)
	if err != nil {
		t.Fatal(err)
	}
	if image(next).generation == want {
		t.Error("a host file with other services makes no difference: this test can tell nothing")
	}
}

// The same holds for whatever a policy may have of a service: each kind, wherever its sockets are and whoever vouches,
// alone on its address and beside others.
func TestContextKnowsWhatAServiceCanHave(t *testing.T) {
	rate := config.Rate{Connections: config.Frequency{Count: 30, Per: time.Minute}, Burst: 30, By: config.LimitBySource,
		Over: config.OverReset, Shared: 8}
	b := &config.Bundle{Version: 1, Name: "b", Policy: map[string]config.Policy{
		config.DefaultPolicy: {Tag: 30, Limit: 50, Drop: 80, Reset: 95, Rate: rate, Fragments: config.FragmentsDrop},
		"lenient":            {Drop: 80}}}
	seen := map[bpf.Policy]bool{}
	for _, kind := range []config.Kind{config.KindTLS, config.KindHTTP, config.KindTCP, config.KindQUIC, config.KindUDP} {
		for _, local := range []bool{false, true} {
			for _, confirm := range []config.Confirm{config.ConfirmAuto, config.ConfirmSocket, config.ConfirmEgress} {
				for _, beside := range []string{"192.0.2.1", "192.0.2.2"} {
					h := config.DefaultHost()
					web := config.Address{IP: netip.MustParseAddr("192.0.2.1")}
					other := config.Address{IP: netip.MustParseAddr(beside)}
					h.Services = []config.Service{
						{Name: "web", Addresses: []config.Address{web}, Port: 443, Kind: kind, Local: local, Confirm: confirm},
						{Name: "lenient", Addresses: []config.Address{other}, Port: 444, Kind: config.KindTLS, Local: true}}
					host, err := HostFile(h, nil, 1)
					if err != nil {
						t.Fatal(err)
					}
					var images [2]*Image
					for i, h := range []*HostImage{host, host.Context(config.Digest{}).Image()} {
						if images[i], err = Bundle(b, h, 7, testNow()); err != nil {
							t.Fatal(err)
						}
					}
					want, got := images[0].generation.Policies, images[1].generation.Policies
					if want != got {
						t.Errorf("%s, local %t, %s, beside %s: for the context %+v, for the host file %+v", kind, local, confirm, beside,
							got[1:3], want[1:3])
					}
					web1 := want[1]
					web1.Limit = 0
					seen[web1] = true
				}
			}
		}
	}
	if len(seen) < 6 {
		t.Errorf("only %d policies differ: this test can tell little", len(seen))
	}
}
