// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"time"

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
		full, s := policyOf(p), config.Service{Kind: config.KindTLS, Local: true}
		s.MaxVerdict = maxVerdicts[min(int(compile.MostOf(h, g, id)), len(maxVerdicts)-1)]
		counts := full.At(s)
		out[p.Tag] = ServicePolicy{counts, counts.Blocks() == config.Never && full.Blocks() != config.Never}
	}
	return out
}

// maxVerdicts are those of a host file, by bpf.Most….
var maxVerdicts = []config.MaxVerdict{bpf.MostPass: config.MaxPass, bpf.MostTag: config.MaxTag,
	bpf.MostLimit: config.MaxLimit, bpf.MostDrop: config.MaxDrop, bpf.MostReset: config.MaxReset}

var limitKeys = []config.LimitKey{bpf.LimitBySource: config.LimitBySource, bpf.LimitByPrefix: config.LimitByPrefix,
	bpf.LimitByFingerprint: config.LimitByFingerprint}

// policyOf is what a bundle says that compiles to such a policy.
func policyOf(p bpf.Policy) config.Policy {
	out := config.Policy{Tag: config.Threshold(p.Tags), Drop: config.Threshold(p.Drop), Reset: config.Threshold(p.Reset)}
	if p.Flags&uint8(bpf.PolicyDropFragments) != 0 {
		out.Fragments = config.FragmentsDrop
	}
	if p.Interval == 0 {
		return out
	}
	out.Limit = config.Threshold(p.Limits)
	out.Rate = config.Rate{Connections: frequencyOf(p.Interval), Burst: p.Burst, Over: config.OverDrop,
		By: limitKeys[min(int(p.By), len(limitKeys)-1)], Shared: p.Shared}
	if p.Over == uint8(bpf.VerdictReset) {
		out.Rate.Over = config.OverReset
	}
	return out
}

// frequencyOf returns the number of connections in a second, a minute or an hour that an interval stands for, in the
// dataplane's units: the first of them that is a whole number. Numbers that differ by less than a unit are one there.
func frequencyOf(interval uint64) (f config.Frequency) {
	for _, per := range []time.Duration{time.Second, time.Minute, time.Hour} {
		least := uint32(uint64(per) / (interval << bpf.LimitUnit)) // the interval was rounded up
		for _, count := range []uint32{least, least + 1} {
			f = config.Frequency{Count: max(count, 1), Per: per}
			if units := (uint64(f.Interval()) + 1<<bpf.LimitUnit - 1) >> bpf.LimitUnit; units == interval {
				return f
			}
		}
	}
	return f
}
