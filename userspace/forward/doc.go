// SPDX-License-Identifier: Apache-2.0

// Package forward finds what sends connections to a port of this host somewhere else: destination NAT and redirects of
// nftables (which iptables writes, too), docker-proxy, kube-proxy and IPVS. No socket on that port then knows of the
// connection.
//
//	base chain at prerouting ── rules ── jump ── rules ── dnat, redirect, tproxy
//	                            └─ ports and address, narrowed on the way ─┘
//
// The rules are read by netlink, in a few hundred lines: of all that a rule may say only ports, protocol and address
// count here, and what is not understood narrows nothing, so that a rule too many is told, and none too few.
package forward
