// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

func TestServicesKeepTheirIDs(t *testing.T) {
	current := &HostInfo{Services: []ServiceInfo{{ID: 1, Name: "web"}, {ID: 2, Name: "old"}}}
	h := &config.Host{Services: []config.Service{
		{Name: "new", Port: 80, Kind: config.KindHTTP, Addresses: []config.Address{{}}},
		{Name: "web", Port: 443, Kind: config.KindTLS, Addresses: []config.Address{{}}},
	}}
	img, err := HostFile(h, current, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got := ServiceName(img.host.Services[1]); got != "web" {
		t.Errorf("id 1 is %q, was web", got)
	}
	if got := ServiceName(img.host.Services[3]); got != "new" {
		t.Errorf("a new service must not take the id of one that leaves in the same reload; id 3 is %q", got)
	}
}

func TestEveryPlaceIsUsable(t *testing.T) {
	var h config.Host
	for i := range bpf.ServicesMax - 1 {
		h.Services = append(h.Services,
			config.Service{Name: fmt.Sprintf("s%d", i), Port: uint16(i + 1), Addresses: []config.Address{{}}})
	}
	img, err := HostFile(&h, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[uint8]bool{}
	for port, entry := range img.ports {
		if port != 0 {
			ids[entry.Any4&^0x80] = true
		}
	}
	if len(ids) != bpf.ServicesMax-1 {
		t.Errorf("%d ids for %d services", len(ids), bpf.ServicesMax-1)
	}
	h.Services = append(h.Services, config.Service{Name: "one-more"})
	if _, err := HostFile(&h, nil, 1); !errors.Is(err, ErrCapacity) {
		t.Errorf("one service too many: %v", err)
	}
}

// The value of a protected source is its class; 0 takes IPv4 out of a wide IPv6 prefix.
func TestProtectedSourcesHaveTheirClasses(t *testing.T) {
	h, err := config.ParseHost("spillway.yaml", []byte(`version: 1
interfaces: [{name: eth0}]
services: [{name: web, port: 443, kind: tls}]
allowlist: [192.0.2.1, "::/2"]
golden: [{name: chrome, service: web, address: "2001:db8:1::/48"}, {name: far, service: web, client: curl}]
health_checks: [{name: uptime, prefixes: [192.0.2.3, "2001:db8:3::3"]}]
crawlers: [{name: search, prefixes: [198.51.100.0/24]}]
`))
	if err != nil {
		t.Fatal(err)
	}
	img, err := HostFile(h, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint32{}
	for i, key := range img.allowlist.keys {
		got[FormatPrefix(key)] = img.allowlist.values[i]
	}
	want := map[string]uint32{"192.0.2.1/32": 1, "::/2": 1, "0.0.0.0/0": 0, "2001:db8:1::/48": 2, "192.0.2.3/32": 3,
		"2001:db8:3::3/128": 3, "198.51.100.0/24": 4}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("protected sources (-want +got):\n%s", diff)
	}
}

func TestClockConversions(t *testing.T) {
	wall := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	c := Clock{Wall: wall, MonotonicNS: 1000 * uint64(time.Second)}
	for _, row := range []struct {
		name string
		at   time.Time
		want uint64
	}{
		{"never", time.Time{}, bpf.Never},
		{"now", wall, 1000 * uint64(time.Second)},
		{"in a minute", wall.Add(time.Minute), 1060 * uint64(time.Second)},
		{"a minute ago", wall.Add(-time.Minute), 940 * uint64(time.Second)},
		{"before the boot", wall.Add(-time.Hour), 1},
		{"in ten thousand years", wall.AddDate(10000, 0, 0), c.MonotonicNS + 1<<63 - 1},
	} {
		if got := c.monotonic(row.at); got != row.want {
			t.Errorf("%s: %d, want %d", row.name, got, row.want)
		}
	}
}
