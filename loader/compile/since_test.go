// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// What a host file newly lets be blocked is marked in its tables, and a generation says whether it is compiled for
// that.
func TestHostFileSinceAnother(t *testing.T) {
	parse := func(text string) *config.Host {
		h, err := config.ParseHost("host", []byte("version: 1\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	before := parse(`interfaces: [{name: eth0}]
services: [{name: web, port: 443, kind: tls, addresses: [192.0.2.1]}, {name: old, port: 80, kind: http}]
allowlist: [192.0.2.7, 198.51.100.0/24]
accept_reasons: [not_hello]
`)
	next := parse(`interfaces: [{name: eth0}, {name: eth1}]
services: [{name: web, port: 443, kind: tls}, {name: api, port: 8443, kind: tls}]
allowlist: [198.51.100.0/25]
accept_reasons: [not_hello, hello_urgent]
`)
	change := config.Digest{1}
	img, err := HostFileSince(next, &Since{before, change}, nil, 7)
	if err != nil {
		t.Fatal(err)
	}
	fresh := func(id uint8) uint8 { return id | uint8(bpf.ServiceFresh) }
	for port, want := range map[uint32]bpf.Port{
		443:  {Any4: fresh(1), Any6: fresh(1), Exact: 1, ByInterface: 1},
		8443: {Any4: fresh(2), Any6: fresh(2), ByInterface: 1},
		0:    {Any4: fresh(1), Any6: fresh(1), ByInterface: 1},
		80:   {},
	} {
		if got := img.ports[port]; got != want {
			t.Errorf("port %d: %+v, want %+v", port, got, want)
		}
	}
	addresses := map[string]uint32{}
	for i, key := range img.addresses.keys {
		addresses[formatAddress(key)] = img.addresses.values[i]
	}
	if diff := cmp.Diff(map[string]uint32{"192.0.2.1:443": 1}, addresses); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	sources := map[string]string{}
	for i, key := range img.allowlist.keys {
		sources[FormatPrefix(key)] = fmt.Sprintf("%#x", img.allowlist.values[i])
	}
	if diff := cmp.Diff(map[string]string{"198.51.100.0/25": "0x1", "198.51.100.0/24": "0x101", "192.0.2.7/32": "0x101"},
		sources); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	if now, was := img.host.AcceptedReasons, img.host.AcceptedBefore; was != 1<<bpf.ReasonNotHello ||
		now != was|1<<bpf.ReasonHelloUrgent {
		t.Errorf("reasons %#x, and %#x before", now, was)
	}
	for digest, want := range map[config.Digest]uint32{{}: 0, {2}: 0, change: 7} {
		of, err := Bundle(&config.Bundle{Host: digest}, img, 1, Clock{})
		if err != nil || of.Generation().Host != want || img.Context(digest).Image().takenBy(digest) != want {
			t.Errorf("for %s: host file %d, %v", digest.Short(), of.Generation().Host, err)
		}
	}
	all, err := HostFile(next, nil, 7)
	if err != nil || all.host.AcceptedBefore != all.host.AcceptedReasons || all.Fresh(2) || all.allowlist.Len() != 1 ||
		all.takenBy(config.Digest{}) != 7 {
		t.Errorf("a host file that counts for everybody has marks: %+v, %v", all.host, err)
	}
}
