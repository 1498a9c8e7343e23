/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* trial.h is the way of a packet through the program that compares: what it counts, and what it lets pass. */
#ifndef SPILLWAY_TRIAL_H
#define SPILLWAY_TRIAL_H

#include <bpf/bpf_helpers.h>

#include "compare.h"
#include "flow.h"
#include "sight.h"
#include "syn.h"

/* let_pass takes a block of a generation on trial back. */
static __always_inline void let_pass(struct packet *p)
{
	p->verdict = VERDICT_PASS;
	p->outcome = OUTCOME_PASS;
	p->reason = REASON_ON_TRIAL;
	p->flags &= ~PACKET_RELEASE;
}

/* heal takes back what was stored of the block. */
static __always_inline void heal(const struct packet *p)
{
	struct flow *flow = find_flow(p);
	if (!flow || flow->isn != p->isn || flow->generation != p->generation || flow->verdict == VERDICT_PASS)
		return;
	end_block(flow);
}

/* rests_on_trial says whether the block of the packet at work is new, and rests on nothing that was declared. */
__noinline int rests_on_trial(__u32 lane)
{
	struct workspace *ws = get_workspace();
	struct pair_key key = {};
	if (!ws || !read_lane(lane))
		return 0;
	const struct comparison *c = &ws->comparison;
	if (ws->packet.generation != c->new_number || judge_again(ws, c->old_slot))
		return 0;
	if (!(ws->packet.marks & MARK_DECLARED))
		return 1; /* which of its rules weighs most does not matter */
	judge_again(ws, c->new_slot);
	weigh(&key, c->new_slot);
	return !key.is_declared;
}

/* decides_in says whether a lane compares the generation that decided on the packet at work. */
__noinline int decides_in(__u32 lane)
{
	struct workspace *ws = get_workspace();
	return ws && read_lane(lane) && ws->packet.generation == ws->comparison.new_number;
}

/* is_extra says whether the packet at work is blocked under a budget for more than what was declared, and the generation before would
 * let it pass. Where no lane compares them nobody can charge that, so it passes. */
__noinline int is_extra(void)
{
	struct workspace *ws = get_workspace();
	if (!ws)
		return 0;
	const struct packet *p = &ws->packet;
	if (!is_blocked(p) || !(p->flags & PACKET_UNDECLARED) || p->flags & PACKET_BANNED ||
	    !control_budget(p->control) || !is_on_trial(p))
		return 0;
	bool is_stable = p->slot == control_stable(p->control);
	return !judge_again(ws, is_stable ? control_previous(p->control) : control_stable(p->control));
}

static __always_inline bool is_unguarded(void)
{
	return !decides_in(LANE_MAIN) && !decides_in(LANE_FAST) && is_extra();
}

/* defer lets a block pass that nobody could count. What began with it goes on as any that passes: a SYN is remembered, and
 * its first payload, which counts, is where it will be blocked. */
static __always_inline void defer(struct xdp_md *ctx, struct packet *p, const struct runtime *rt)
{
	if (!rests_on_trial(LANE_MAIN) && !rests_on_trial(LANE_FAST) && !is_unguarded())
		return;
	let_pass(p);
	if (p->stage == STAGE_SYN)
		remember_syn(p, rt, syn_sight(ctx, p, rt));
	else if (p->flags & (PACKET_CUT | PACKET_ADDRESSES_ONLY)) /* another fragment was noted before it was judged */
		note_unread(p, rt);
}

/* note_reset counts a client's RST, where it was not served, against the arm of its prefix. */
__noinline int note_reset(struct xdp_md *ctx)
{
	struct workspace *ws = get_workspace();
	__u32 lane = LANE_MAIN;
	struct trial *t = bpf_map_lookup_elem(&trials, &lane);
	if (!ws || !t)
		return 0;
	struct packet *p = &ws->packet;
	if (!p->now_ns)
		p->now_ns = clock_ns();
	if (!read_lane(lane))
		return 0;
	__u32 arm = arm_of(p, &ws->comparison);
	struct flow *flow = find_flow(p);
	if (arm <= 1 && flow && ends_unserved(ctx, p, flow))
		note_bad(t, arm);
	return 0;
}

/* try_packet counts the packet at work, and lets it pass where it must not be blocked. */
static __always_inline int try_packet(struct xdp_md *ctx, struct packet *p, const struct runtime *rt, int reason)
{
	if (is_client_reset(p)) {
		note_reset(ctx);
		return reason;
	}
	if (is_deferrable(p)) {
		defer(ctx, p, rt);
	} else if (compare_lane(LANE_MAIN) | compare_lane(LANE_FAST) || is_unguarded()) {
		let_pass(p);
		heal(p);
	}
	return p->outcome == OUTCOME_PASS && p->reason == REASON_ON_TRIAL ? REASON_ON_TRIAL : reason;
}

#endif
