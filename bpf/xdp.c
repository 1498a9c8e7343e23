// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//go:build ignore

/* xdp.c holds the entry points behind the root program (root.c): the front, the dataplane, and behind that what looks into payloads. */

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

#include "root.h"
#include "types.h"
#include "settings.h"
#include "maps.h"
#include "packet.h"
#include "parse.h"
#include "service.h"
#include "egress.h"
#include "flow.h"
#include "front.h"
#include "mptcp.h"
#include "payload.h"
#include "release.h"
#include "reset.h"
#include "stats.h"
#include "trial.h"

/* Helpers that need it are marked GPL-only; the choice of licence is the user's. */
char _license[] SEC("license") = "Dual BSD/GPL";

/* inspect_addresses judges a packet whose connection nobody knows. */
static __always_inline int inspect_addresses(struct packet *p, const struct runtime *rt)
{
	if (p->flags & PACKET_TINY)
		p->flags |= PACKET_CUT;
	judge_as(p, p->weak_reason);
	note_unread(p, rt);
	return p->reason;
}

static __always_inline int inspect(struct xdp_md *ctx, struct packet *p)
{
	struct runtime *rt = get_words();
	if (!rt)
		return REASON_INTERNAL;
	p->control = *(volatile __u64 *)&rt->control;

	int reason = parse(ctx, p);
	if (reason) {
		note_unparsed(reason);
		return reason;
	}
	__u32 service = find_service(p, ctx->ingress_ifindex);
	if (!service || service >= SERVICES_MAX)
		return REASON_NOT_SERVICE;
	if (is_bypassed(rt->service_bypass_until_ns[service]))
		return REASON_SERVICE_BYPASS;
	if (p->flags & PACKET_ADDRESSES_ONLY)
		return inspect_addresses(p, rt);
	if (p->protocol == IPPROTO_UDP)
		return judge_as(p, REASON_NO_MATCH);
	return inspect_tcp(ctx, p, rt);
}

/* finish is the one exit: every packet is counted here, and nothing but PASS, DROP and TX leaves. */
static __always_inline int finish(struct xdp_md *ctx, struct packet *p, int reason)
{
	if ((p->outcome == OUTCOME_RESET || p->outcome == OUTCOME_WOULD_RESET) && !can_answer(ctx))
		p->outcome = p->outcome == OUTCOME_RESET ? OUTCOME_DROP : OUTCOME_WOULD_DROP;
	if (p->flags & PACKET_STRIP && strip_mptcp(ctx, p) && reason == REASON_NO_MATCH)
		reason = REASON_MPTCP_STRIPPED;
	__u8 outcome = p->outcome;
	p->outcome = counted_outcome(p);
	__u64 counted = count(p, reason > 0 && reason < REASON_MAX ? reason : REASON_INTERNAL);
	if (p->flags & PACKET_EVENT && (is_sampled(p, counted) || is_watched(p)) && may_tell(p->now_ns))
		tell(p);
	if (outcome == OUTCOME_RESET) {
		int action = reset(ctx, p);
		return action == XDP_PASS || action == XDP_TX ? action : XDP_DROP;
	}
	if (outcome != OUTCOME_DROP)
		return XDP_PASS;
	return p->flags & PACKET_RELEASE && release(ctx, p) == XDP_PASS ? XDP_PASS : XDP_DROP;
}

/* hand_over leaves the packet to another program: the one that looks into payloads, or the one that compares. It returns when there
 * is none, or when it is at work on a packet that this one interrupted: then it passes. */
static __always_inline int hand_over(struct xdp_md *ctx, const struct packet *p, __u32 program, int reason)
{
	struct workspace *ws = get_workspace();
	if (!ws)
		return REASON_INTERNAL;
	if (!take_workspace(ws))
		return REASON_HELLO_BUSY;
	ws->packet = *p;
	ws->is_asked = ws->is_near = ws->is_doubted = 0;
	ws->hints = p->flags & PACKET_REMOTE ? HINT_NO_SOCKET : 0;
	ws->confirmed = CONFIRM_NONE;
	ws->segment.is_urgent = 0;
	ws->limited_count = 0;
	ws->packet.flags |= PACKET_AT_WORK;
	ws->said = reason;
	bpf_tail_call(ctx, &programs, program);
	leave_workspace(ws);
	return REASON_INTERNAL;
}

/* compare_next leaves the packet to the program that compares. It returns when nobody compares: what would be deferred passes, for
 * nobody counts it, and all else is as it was. */
static __always_inline int compare_next(struct xdp_md *ctx, struct packet *p, int reason)
{
	bool is_deferred = is_deferrable(p);
	hand_over(ctx, p, PROGRAM_PAIR, reason);
	if (!is_deferred)
		return reason;
	let_pass(p);
	return REASON_ON_TRIAL;
}

/* Where there is no dataplane behind the front, what it leaves passes. */
SEC("xdp.frags")
int spillway_front(struct xdp_md *ctx)
{
	struct packet p = {};
	int action = front(ctx, &p);
	if (action != FRONT_LEAVES)
		return action;
	bpf_tail_call(ctx, &programs, PROGRAM_DATAPLANE);
	return XDP_PASS;
}

SEC("xdp.frags")
int spillway_dataplane(struct xdp_md *ctx)
{
	struct packet p = {};
	int reason = inspect(ctx, &p);
	if (reason == NEXT_PROGRAM)
		reason = hand_over(ctx, &p, PROGRAM_PAYLOAD, reason);
	else if ((p.outcome != OUTCOME_PASS || p.flags & PACKET_OF_FLOW) && control_pair(p.control) &&
		 asks_comparison(&p))
		reason = compare_next(ctx, &p, reason);
	return finish(ctx, &p, reason);
}

/* spillway_ask is attached to nothing: user space runs it, with a question as the packet, before it closes a socket. */
SEC("xdp")
int spillway_ask(struct xdp_md *ctx)
{
	struct packet p = {};
	struct socket_question *q = (void *)(long)ctx->data;
	if ((void *)(q + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	p.key = q->key;
	__u32 isn = 0;
	q->confirmed = confirm(ctx, &p, &isn);
	q->isn = isn;
	return XDP_PASS;
}

/* spillway_egress looks at what leaves an interface, and lets whoever stands behind it decide: 0xffffffff is TC_ACT_UNSPEC, and
 * TCX_NEXT. */
SEC("tc")
int spillway_egress(struct __sk_buff *skb)
{
	note_answer(skb);
	return -1;
}

SEC("xdp.frags")
int spillway_payload(struct xdp_md *ctx)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	if (!ws || !rt)
		return XDP_PASS;
	find_voucher(ctx, ws);
	int reason = inspect_beginning(ctx, &ws->packet, rt, ws);
	if (is_compared(&ws->packet)) {
		ws->said = reason;
		bpf_tail_call(ctx, &programs, PROGRAM_PAIR);
		if (is_extra()) { /* nobody compares, so nobody can charge it */
			let_pass(&ws->packet);
			heal(&ws->packet);
			reason = REASON_ON_TRIAL;
		}
	}
	int action = finish(ctx, &ws->packet, reason);
	leave_workspace(ws);
	return action;
}

/* spillway_pair ends what the other two began, and judged: it compares that with another generation's verdict. */
SEC("xdp.frags")
int spillway_pair(struct xdp_md *ctx)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	if (!ws || !rt)
		return XDP_PASS;
	int action = finish(ctx, &ws->packet, try_packet(ctx, &ws->packet, rt, ws->said));
	leave_workspace(ws);
	return action;
}
