// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
	"github.com/spillway/spillway/loader/kernel"
)

// LimitLosses is what could not be held to a limit since the maps were made.
type LimitLosses struct {
	Lost    uint64 // connections that passed uncharged: others charged the same set of keys at that moment
	Evicted uint64 // keys that were forgotten before their time: their set was full, and they have their whole burst again
}

// LimitLosses returns the sum over the processors.
func (t *CounterTable) LimitLosses() (sum LimitLosses, err error) {
	var each []bpf.LimitCount
	if err := t.maps[bpf.DataplaneMapLimitCounts].Lookup(uint32(0), &each); err != nil {
		return sum, kernel.Explain("read what limits could not hold", err)
	}
	for _, c := range each {
		sum.Lost, sum.Evicted = sum.Lost+c.Lost, sum.Evicted+c.Evicted
	}
	return sum, nil
}

// ServicePolicy is what a resident generation does at a service.
type ServicePolicy struct {
	// Counts is what counts now: with nothing stronger than the host file in force leaves to it.
	Counts config.Policy
	// Capped reports that it would block somebody without that.
	Capped bool
}

// policiesOf reads the policies of a generation, by the tag of their service. h is the host file in force; nil: none.
func policiesOf(g *bpf.Generation, h *bpf.Host) map[uint32]ServicePolicy {
	out := map[uint32]ServicePolicy{}
	for id, p := range g.Policies {
		if p.Tag == 0 {
			continue
		}
		full := compile.PolicyOf(p)
		counts := full.At(config.Service{Kind: config.KindTLS, Local: true,
			MaxVerdict: config.MaxVerdictOf(int(compile.MostOf(h, g, id)))})
		out[p.Tag] = ServicePolicy{counts, counts.Blocks() == config.Never && full.Blocks() != config.Never}
	}
	return out
}
