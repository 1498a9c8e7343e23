// SPDX-License-Identifier: Apache-2.0

// Package servers asks real servers, nginx, HAProxy, OpenSSL, GnuTLS and Go, behind an attached dataplane: what they
// serve was read, who is listed is not served, and who is not listed is. Each runs twice, on the edge and behind a DNAT
// rule in another network namespace, where connection tracking is asked who vouches (`confirm: auto`):
//
//	bots, visitors (out0) ─── veth ─── (edge0: XDP) ─┬─ server, ports 4431 …
//	                                                 └─ nft dnat of 5431 … ─── veth ─── server (behind0)
//
// These tests need root, nft and the servers; without they say so and are left out, and in CI they fail.
package servers
