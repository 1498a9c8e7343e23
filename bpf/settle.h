/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* settle.h says how long the beginning of a connection to a tls service is looked at.
 *
 *   first data                     a hello was read, or           its socket has taken in
 *              ──▶ LOOKING ──────▶ there is none: READ ─────────▶ hello_end bytes: SETTLED
 *                  │      ▲             │                         hello_end = 0
 *                  │      └─────────────┘ other bytes from           ▲
 *                  │                      the beginning on           │
 *                  └─ the socket has taken in what is not held ──────┘ it can never be read any more
 *
 * Invariants:
 * - Only the socket ends the look. What was read may be a segment that it never takes (a wrong checksum, a stale number), so
 *   the true hello may still come, in any order, and is read.
 * - A settled flow asks nobody and costs nothing: its data never leaves the first program.
 * - Data behind hello_end of a flow that is READ asks the socket once a packet. The second flight of a client comes after
 *   the server's answer, so nearly every flow is settled by its second data packet.
 * - Where the socket has not taken the hello in yet (data behind it in one burst, early data), what lies behind it is kept
 *   like any part of a beginning, and passes.
 *
 * The path of a visitor: the hello makes the flow, READ; the server takes it in and answers; the client's next data finds
 * rcv_nxt - ISN - 1 >= hello_end, and the flow is settled. */
#ifndef SPILLWAY_SETTLE_H
#define SPILLWAY_SETTLE_H

#include "confirm.h"
#include "hello.h"
#include "maps.h"
#include "packet.h"
#include "syn.h"

/* is_too_far says whether p, whose data begins at byte `at`, has nothing that could be kept. */
static __always_inline bool is_too_far(const struct packet *p, __u32 at)
{
	return at >= HELLO_MAX && -at >= p->payload_len;
}

/* is_past says whether p, data of a flow that passes, lies behind its beginning. It settles the flow when its socket says
 * so. */
static __always_inline bool is_past(struct xdp_md *ctx, struct packet *p, struct flow *flow)
{
	__u32 at = p->seq - flow->isn - 1;
	if (!(flow->flags & FLOW_READ) || !flow->hello_end || p->flags & PACKET_REMOTE)
		return false;
	if (socket_took(ctx, p, flow->isn) >= (int)flow->hello_end) {
		flow->hello_end = 0;
		return true;
	}
	return is_too_far(p, at);
}

/* is_behind_hello says whether p's data lies behind the hello that was read, which its socket has not taken in yet. */
static __always_inline bool is_behind_hello(const struct packet *p, const struct flow *flow)
{
	__u32 at = p->seq - flow->isn - 1;
	return flow->flags & FLOW_READ && !(p->flags & PACKET_REMOTE) && at >= flow->hello_end && -at >= p->payload_len;
}

/* extend_hello leaves in p and flow where the hello may end, after p was read. Several versions of a beginning, or differing
 * bytes, leave open which of them the socket takes: then the longest counts. */
static __always_inline void extend_hello(struct packet *p, struct flow *flow, int reason)
{
	bool is_remote = p->flags & PACKET_REMOTE, was_read = flow->flags & FLOW_READ;
	__u32 was = flow->hello_end;
	if (was_read && !is_remote && reason == REASON_HELLO_PARTIAL) {
		/* What covers all of the hello that was read, and is not whole, begins differently. What covers less of it
		 * comes again, or lies behind it. */
		if (p->held < was)
			p->hello_end = was;
		else
			flow->flags &= ~FLOW_READ;
	} else if (was_read || is_remote || p->weak_reason == REASON_HELLO_OVERLAP) {
		if (p->hello_end < was && (flow->flags & FLOW_FIRST_PAYLOAD || !begins_at(p, flow->isn + 1)))
			p->hello_end = was;
	}
	if (p->flags & PACKET_HELLO_READ)
		flow->flags |= FLOW_READ;
	flow->hello_end = p->hello_end;
}

#endif
