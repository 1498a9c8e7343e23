// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

package bpf

import "math/bits"

// Name is the name by which a table of flows knows the connection, where these are its dataplane's keys: name_flow of
// bpf/name.h.
func (k FlowKey) Name(keys *NameKeys) FlowName {
	n := FlowName{Sport: k.Sport, Dport: k.Dport}
	if isIPv4(k.Saddr) && isIPv4(k.Daddr) {
		n.Ends = [2]uint32{k.Saddr[3], k.Daddr[3]}
		return n
	}
	for half, words := range keys.Words {
		sum := words[0]
		for i := 0; i < 4; i += 2 {
			sum += (words[1+i] + uint64(k.Saddr[i])) * (words[2+i] + uint64(k.Saddr[i+1]))
			sum += (words[5+i] + uint64(k.Daddr[i])) * (words[6+i] + uint64(k.Daddr[i+1]))
		}
		n.Ends[half] = uint32(sum >> 32)
	}
	return n
}

// Key is the key of the connection whose name and verdict these are.
func (n FlowName) Key(f *Flow) FlowKey {
	return FlowKey{Saddr: f.Saddr, Daddr: f.Daddr, Sport: n.Sport, Dport: n.Dport}
}

// isIPv4 is is_ipv4 of bpf/wire.h, over words in network order.
func isIPv4(a [4]uint32) bool { return a[0] == 0 && a[1] == 0 && a[2] == bits.ReverseBytes32(0xffff) }
