// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// What a generation does at a service is read back from the kernel, as far as the host file in force lets it.
func TestPoliciesOfGenerations(t *testing.T) {
	d := openTest(t, Options{Pins: testPins(t)})
	b := testBundle("198.51.100.0/24")
	rate := config.Rate{Connections: config.Frequency{Count: 30, Per: time.Minute}, Burst: 60, By: config.LimitByPrefix,
		Over: config.OverReset, Shared: 8}
	full := config.Policy{Tag: 30, Limit: 50, Drop: 80, Reset: 95, Rate: rate}
	b.Policy = map[string]config.Policy{config.DefaultPolicy: full}
	for _, c := range []struct {
		most   config.MaxVerdict
		want   config.Policy
		capped bool
	}{
		{config.MaxReset, full, false},
		{config.MaxDrop, config.Policy{Tag: 30, Limit: 50, Drop: 80, Rate: dropping(rate)}, false},
		{config.MaxLimit, config.Policy{Tag: 30, Limit: 50, Rate: dropping(rate)}, false},
		{config.MaxTag, config.Policy{Tag: 30}, true},
		{config.MaxPass, config.Policy{}, true},
	} {
		h := testHost()
		h.Services[0].MaxVerdict = c.most
		publish(t, d, h, b)
		all, err := d.Generations()
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range all {
			if g.Role != RoleStable {
				continue
			}
			web := g.Policies[TagOf("web")]
			if diff := cmp.Diff(ServicePolicy{c.want, c.capped}, web); diff != "" {
				t.Errorf("max_verdict %s (-want +got):\n%s", c.most, diff)
			}
			if got, want := g.Blocking.From[TagOf("web")], uint8(c.want.Blocks()); got != want {
				t.Errorf("max_verdict %s: blocks from %d, want %d", c.most, got, want)
			}
			if dns := g.Policies[TagOf("dns")]; dns.Counts.Limit != config.Never || dns.Counts.Drop != 80 || dns.Capped {
				t.Errorf("max_verdict %s of web: the policy of dns is %+v", c.most, dns)
			}
		}
	}
}

func dropping(r config.Rate) config.Rate {
	r.Over = config.OverDrop
	return r
}

func TestLimitLosses(t *testing.T) {
	d := openTest(t, Options{Pins: testPins(t)})
	each := make([]bpf.LimitCount, ebpf.MustPossibleCPU())
	for i := range each {
		each[i] = bpf.LimitCount{Lost: 1, Evicted: uint64(i)}
	}
	if err := d.site.maps[bpf.DataplaneMapLimitCounts].Put(uint32(0), each); err != nil {
		t.Fatal(err)
	}
	n := uint64(len(each))
	if got, err := d.LimitLosses(); err != nil || got != (LimitLosses{n, n * (n - 1) / 2}) {
		t.Errorf("%+v, %v", got, err)
	}
}
