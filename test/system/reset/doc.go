// SPDX-License-Identifier: Apache-2.0

// Package reset holds the proof of the verdict reset with a real nginx, behind a wire and with SYN cookies never, when
// needed and always: the server is rid of a reset bot at once, accepts it once however often the bot sends again, and
// the bot is told.
//
//	bots, visitor (out0) ─── veth ─── (edge0: XDP) nginx
//
// These tests need root and nginx; without they say so and are left out, and in CI they fail.
package reset
