// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"net/netip"
	"testing"

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
