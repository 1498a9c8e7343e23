/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* over.h says when a connection is over, and forgets it: without a socket nothing of it is taken any more.
 *
 * Where its handshake rested in a SYN cookie, whoever ended it may begin again with the same numbers while the cookie is good
 * (tcp_v4_cookie_check; the client needs no SYN). What is known of the old connection is then not the new one's. */
#ifndef SPILLWAY_OVER_H
#define SPILLWAY_OVER_H

#include "confirm.h"
#include "flow.h"
#include "place.h"

/* forget_connection takes the flow and the place of one that is over. Whatever comes for its addresses and ports begins another, so
 * nothing is relaxed by it: a flow that passes alone is forgotten. */
__noinline int forget_connection(struct packet *p, __u32 isn)
{
	struct workspace *ws = get_workspace();
	if (!p || !ws)
		return 0;
	__u32 place = find_place(p, isn);
	if (place != NO_PLACE && lock_place(place))
		free_hello(ws);
	struct flow_name name __attribute__((aligned(8)));
	name_flow(&name, &ws->packet.key);
	bpf_map_delete_elem(&flows, &name);
	return 0;
}

/* is_over says whether the socket that vouched for the flow of p's connection is gone, and forgets it then. A function of its own for
 * the stack. */
static __noinline int is_over(struct xdp_md *ctx, struct packet *p)
{
	struct workspace *ws = get_workspace();
	struct flow *flow = find_flow(p);
	if (!ws || !flow || p->flags & PACKET_REMOTE || !(flow->flags & FLOW_CONFIRMED) ||
	    flow->verdict != VERDICT_PASS || flow->hint & HINT_HEALED)
		return 0;
	__u32 isn = flow->isn;
	if (p->flags & PACKET_OF_FLOW) {
		if (socket_took(ctx, p, isn) >= 0)
			return 0;
		find_confirmed(ctx, ws);
		if (ws->confirmed != CONFIRM_NONE && ws->confirmed_isn == isn)
			return 0;
		p->flags &= ~PACKET_OF_FLOW;
	} else if (ws->confirmed != CONFIRM_NONE && (ws->confirmed_isn != isn || !begins_again(flow, ws->confirmed))) {
		return 0;
	}
	forget_connection(p, isn);
	return 1;
}

#endif
