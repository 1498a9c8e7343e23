// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"encoding/binary"
	"hash/fnv"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// compilePolicies leaves a reset out where no socket of this host can say whose connection it is, and a limit where
// nobody can.
func (img *Image) compilePolicies(b *config.Bundle, host *HostImage) {
	for id, s := range host.host.Services {
		if s.Tag == 0 {
			continue
		}
		p := b.PolicyFor(ServiceName(s))
		out := bpf.Policy{Tag: s.Tag, Drop: uint8(p.Drop), Tags: uint8(p.Tag), Flags: host.fragmentFlags(b, id)}
		if host.resets[id] {
			out.Reset = uint8(p.Reset)
		}
		if host.services[id].Protocol() != protocolUDP {
			limit(&out, p, host.resets[id])
		}
		img.generation.Policies[id] = out
	}
}

var limitKeys = map[config.LimitKey]uint8{config.LimitBySource: uint8(bpf.LimitBySource),
	config.LimitByPrefix: uint8(bpf.LimitByPrefix), config.LimitByFingerprint: uint8(bpf.LimitByFingerprint)}

// limit compiles the limit of a policy: nothing where it has none.
func limit(out *bpf.Policy, p config.Policy, resets bool) {
	if p.Limit == config.Never || p.Rate.IsZero() {
		return
	}
	const unit = 1 << bpf.LimitUnit
	out.Limits, out.By, out.Shared = uint8(p.Limit), limitKeys[p.Rate.By], p.Rate.Shared
	out.Interval = max((uint64(p.Rate.Connections.Interval())+unit-1)/unit, 1)
	out.Burst = p.Rate.Burst
	out.Over = uint8(bpf.VerdictDrop)
	if p.Rate.Over == config.OverReset && resets {
		out.Over = uint8(bpf.VerdictReset)
	}
	out.Limit = limitName(*out)
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
