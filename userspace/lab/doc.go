// SPDX-License-Identifier: Apache-2.0

// Package lab builds the small network in which the demo and the end-to-end
// tests run, and the people and bots in it. It never touches an interface of
// the machine: both ends of its one veth pair are born inside namespaces.
//
//	namespace spw-<pid>-<rand>-out            namespace spw-<pid>-<rand>-edge
//	+---------------------------------+       +--------------------------------+
//	| visitors 198.18.10.1 … .32      |       |  origin :443 (TLS), :80        |
//	|          2001:db8:10::1 … ::20  |       |  198.18.0.1, 2001:db8:e::1     |
//	| crawler  198.18.66.1 … .8       | veth  |                                |
//	|          2001:db8:66::1 … ::8   | out0 === edge0  <- XDP goes here       |
//	| scanner  198.18.77.1 … .16      |       |                                |
//	|          2001:db8:77::1 … ::10  |       |  default route and the only    |
//	| link     198.18.0.2, …:e::2     |       |  neighbour: the out side       |
//	+---------------------------------+       +--------------------------------+
//
// The out side owns its addresses as host addresses, and the edge sends
// everything back over the one link, as an edge host behind a router does. The
// neighbours are permanent and IPv6 has no link-local addresses: apart from a
// few multicast reports at the start, the wire carries only what somebody sends.
//
// Veth lore: TX checksum offload is off at both ends, because XDP and raw
// frames would otherwise see partial checksums (and with it TSO is off, so XDP
// sees segments, not bursts). XDP_TX on edge0 needs NAPI on out0: attach a
// pass program there, or switch GRO on. Only the network namespace is ever
// entered, never a mount namespace, so bpffs stays visible; `ip netns exec`
// would hide it.
//
// Whatever a lab makes carries its id, and a lock that dies with its owner
// says whether the owner lives: Close removes everything, and Sweep removes
// what killed owners left.
package lab
