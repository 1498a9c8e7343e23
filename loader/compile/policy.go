// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// compilePolicies leaves out what a service cannot have: a reset where no socket of this host can say whose connection
// it is, a limit where nobody can, fragments where segments are not read. What the host file caps is read at each
// decision.
func (img *Image) compilePolicies(b *config.Bundle, host *HostImage) {
	full := func(name string) config.Policy { return host.terms[name].Full(b.PolicyFor(name)) }
	for id, s := range host.host.Services {
		if s.Tag == 0 {
			continue
		}
		name := ServiceName(s)
		p := full(name)
		out := bpf.Policy{Tag: s.Tag, Drop: uint8(p.Drop), Tags: uint8(p.Tag), Reset: uint8(p.Reset)}
		if p.Fragments == config.FragmentsDrop {
			out.Flags = uint8(bpf.PolicyDropFragments)
			// One without ports is for any service of its address, so all of them must agree.
			if !slices.ContainsFunc(host.terms[name].Beside,
				func(other string) bool { return full(other).Fragments != config.FragmentsDrop }) {
				out.Flags |= uint8(bpf.PolicyDropTiny)
			}
		}
		limit(&out, p)
		img.generation.Policies[id] = out
	}
}

// PolicyOf returns what a bundle says that compiles to such a policy, at a service of this host that can have all of
// it.
func PolicyOf(p bpf.Policy) config.Policy {
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

// limitKeys by their numbers in the kernel.
var limitKeys = []config.LimitKey{bpf.LimitBySource: config.LimitBySource, bpf.LimitByPrefix: config.LimitByPrefix,
	bpf.LimitByFingerprint: config.LimitByFingerprint}

// limit compiles the limit of a policy: nothing where it has none.
func limit(out *bpf.Policy, p config.Policy) {
	if p.Limit == config.Never || p.Rate.IsZero() {
		return
	}
	out.Limits, out.By, out.Shared = uint8(p.Limit), uint8(max(slices.Index(limitKeys, p.Rate.By), 0)), p.Rate.Shared
	out.Interval, out.Burst = intervalOf(p.Rate.Connections), p.Rate.Burst
	out.Over = uint8(bpf.VerdictDrop)
	if p.Rate.Over == config.OverReset {
		out.Over = uint8(bpf.VerdictReset)
	}
	out.Limit = limitName(*out)
}

// intervalOf returns the time from one connection to the next, in the dataplane's units: rounded up, so that a limit
// admits no more than it says.
func intervalOf(f config.Frequency) uint64 {
	const unit = 1 << bpf.LimitUnit
	return max((uint64(f.Interval())+unit-1)/unit, 1)
}

// frequencyOf returns the number of connections in a second, a minute or an hour that an interval stands for: the first
// of them that is a whole number. Numbers that differ by less than a unit are one there.
func frequencyOf(interval uint64) (f config.Frequency) {
	for _, per := range []time.Duration{time.Second, time.Minute, time.Hour} {
		least := uint32(uint64(per) / (interval << bpf.LimitUnit))
		for _, count := range []uint32{least, least + 1} {
			f = config.Frequency{Count: max(count, 1), Per: per}
			if intervalOf(f) == interval {
				return f
			}
		}
	}
	return f
}

// limitName names what a limit counts and admits: what becomes of the rest, and from which score on, does not matter to
// what was charged before.
func limitName(p bpf.Policy) uint32 {
	h := fnv.New32a()
	b := binary.LittleEndian.AppendUint32(nil, p.Tag)
	b = binary.LittleEndian.AppendUint64(append(b, p.By, p.Shared), p.Interval)
	_, _ = h.Write(binary.LittleEndian.AppendUint32(b, p.Burst))
	return h.Sum32()
}
