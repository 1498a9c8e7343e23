// SPDX-License-Identifier: Apache-2.0

// Package egress holds the proof of `confirm: egress`, with a server behind a DNAT rule in another network namespace:
//
//	bots, visitor (out0) ─── veth ─── (edge0: XDP, egress) nft dnat ─── veth ─── server
//
// These tests need root and nft; without they say so and are left out, and in CI they fail.
package egress
