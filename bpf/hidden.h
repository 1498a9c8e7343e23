/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* hidden.h finds connections whose server read bytes of the beginning that we did not: the answer to every trick that nobody
 * has thought of. It may block, so it is built to hit no visitor.
 *
 *    SYN, in a sight           data, all of it held              rcv_nxt - ISN - 1 > held, twice
 *   ────────────────▶ SEEN ──────────────────────▶ LOOKING ──────────────────────────────────────▶ hello_hidden
 *                      │ data passed without a flow  │ a part was lost, busy, or came by two        (judged, once)
 *                      ▼                             ▼ processors at once; the sight ended
 *                    UNSEEN, sight 0: for the life of the connection ─── the same gap ──────────▶ hello_unseen (weak)
 *
 * Why it is true: rcv_nxt grows only over bytes that came in a segment. Each segment of the connection passed these programs
 * (it is in a sight, sight.h) and was read as data of this key, or ended the sight. Each of them was held, with its place in
 * the stream, or made the flow UNSEEN. So what the socket took and nobody holds came by a way that is not ours.
 *
 * Invariants:
 * - Bytes count as held before their packet leaves the program, so before the socket can take them. The socket is asked
 *   first, and what is held is read after that, behind a barrier: a segment on its way on another processor is held already.
 * - A flow has a sight only from its SYN's record, and only its first data takes it from there: data that no flow answers
 *   for (behind a SYN cookie, after an eviction) finds none, or leaves none. The SYN that comes again does not bring it back.
 * - A sight is lost by one store of 0, and nothing gives it back. Two processors with one connection lose it.
 * - What is held is the place's (hello.h), which has a lock. A place that was lost, and taken anew, loses the sight.
 * - A FIN counts as a byte, and is taken off. It is taken in once, so the moment in which the socket has counted it and its
 *   state does not show it yet deceives one packet at most.
 *
 * The path of a visitor: the hello is read, and the flow is READ: it never comes here. One whose hello comes in parts asks the
 * socket only for data that leaves a gap; it finds that the socket has the same gap. One whose beginning was caught by a
 * bypass, an upgrade, a second interface, a fragment or a full table is UNSEEN, and passes. */
#ifndef SPILLWAY_HIDDEN_H
#define SPILLWAY_HIDDEN_H

#include "flow.h"
#include "hello.h"
#include "maps.h"
#include "packet.h"
#include "settle.h"
#include "sight.h"

/* is_in_sight is a function of its own for the stack: Linux 6.1 sums frames up in steps of 32 bytes. So are the next ones. */
__noinline int is_in_sight(struct packet *p, __u32 sight)
{
	struct runtime *rt = get_words();
	return p && sight && rt && sight == sight_now(p, rt);
}

/* recall_first is recall_syn for data whose connection a socket knows. */
__noinline int recall_first(struct packet *p, __u32 isn)
{
	struct runtime *rt = get_words();
	return p && rt && recall_syn(p, rt, isn);
}

/* is_kept says whether all of p's bytes that belong to the beginning are held, or will never be asked for. */
static __always_inline bool is_kept(const struct packet *p, int reason)
{
	return !(p->flags & PACKET_UNSEEN) && (reason == REASON_HELLO_PARTIAL || p->flags & PACKET_HELLO_READ);
}

static __always_inline void lose_sight(struct flow *flow)
{
	*(volatile __u32 *)&flow->sight = 0;
}

/* disown takes the sight from the flow of p's connection, if there is one: p had none when it came. (No global function: Linux
 * 6.1 takes no key from the memory behind the argument of one.) */
static __noinline void disown(const struct packet *p)
{
	struct flow *flow = find_flow(p);
	if (flow)
		lose_sight(flow);
}

/* note_held leaves in the flow what is held of it, after p was read. Another processor may have stored the flow anew; then
 * neither knows what the other held. */
static __always_inline void note_held(struct packet *p, struct flow *flow, int reason)
{
	__u32 was = *(volatile __u32 *)&flow->held, held = p->held + 1;
	if (flow->flags & FLOW_READ)
		return;
	if (!is_kept(p, reason) || (p->flags & PACKET_NEW_PLACE && was))
		lose_sight(flow);
	else if (held > was && __sync_val_compare_and_swap(&flow->held, was, held) != was)
		lose_sight(flow);
	if (find_flow(p) != flow)
		disown(p);
}

/* note_changed takes the sight from the flow that was just stored in place of `old`, when that knew better by then. */
static __always_inline void note_changed(struct packet *p, const struct flow *old)
{
	bool is_more = p->flags & PACKET_HELLO_PARTIAL && *(volatile const __u32 *)&old->held > p->held + 1;
	if (is_more || *(volatile const __u32 *)&old->sight != p->sight)
		disown(p);
}

/* held_of returns how many bytes of the beginning are held, as of now. */
static __always_inline int held_of(struct packet *p, struct flow *flow)
{
	__u32 counted = __sync_fetch_and_add(&flow->held, 0); /* a barrier: not before what the socket said */
	int known = counted ? counted - 1 : 0, held = bytes_held(p, flow->isn);
	return held > known ? held : known;
}

/* is_gone says whether the socket has taken in bytes that nobody holds, so that the beginning will never be read. Data that
 * continues what is held need not ask. */
static __always_inline bool is_gone(struct xdp_md *ctx, struct packet *p, struct flow *flow)
{
	__u32 at = p->seq - flow->isn - 1, counted = flow->held, held = counted ? counted - 1 : 0;
	if (!flow->hello_end || flow->flags & FLOW_READ || p->flags & PACKET_REMOTE || (__s32)(at - held) <= 0)
		return false;
	int taken = socket_took(ctx, p, flow->isn);
	return taken > 0 && taken > held_of(p, flow);
}

/* inspect_gap judges the connection once: at the second packet that finds the gap, or at the first where the cause may be a
 * network, or us. Past its beginning nothing but a hidden one cuts it, and that only where rules score it. */
static __noinline int inspect_gap(struct packet *p, const struct runtime *rt, struct flow *flow)
{
	bool is_hidden = is_in_sight(p, *(volatile __u32 *)&flow->sight);
	if (is_hidden && !(flow->flags & FLOW_GAP)) {
		flow->flags |= FLOW_GAP;
		return apply_flow(p, rt, flow);
	}
	enum reason reason = is_hidden ? REASON_HELLO_HIDDEN : REASON_HELLO_UNSEEN;
	if (flow->flags & FLOW_FIRST_PAYLOAD)
		take_facts(p, flow);
	else
		recall_first(p, flow->isn);
	if (flow->flags & FLOW_COUNTED)
		p->flags |= PACKET_COUNTED;
	p->flags |= PACKET_PROVEN | PACKET_CONNECTION | PACKET_DECIDED;
	p->isn = flow->isn;
	p->hello_end = p->sight = 0;
	p->weak_reason = reason;
	p->stage = STAGE_PAYLOAD;
	judge(p);
	if (!(is_hidden && p->flags & PACKET_STRONG_REASON))
		spare_begun(p, reason);
	if (p->reason == REASON_NO_MATCH)
		p->reason = reason;
	flow->flags |= FLOW_FIRST_PAYLOAD | FLOW_READ | FLOW_COUNTED;
	flow->hello_end = 0;
	flow->reason = p->reason;
	flow->score = p->score;
	if (p->verdict != VERDICT_PASS)
		keep_flow(p, flow->isn, FLOW_CONFIRMED | FLOW_FIRST_PAYLOAD | FLOW_READ);
	return p->reason;
}

#endif
