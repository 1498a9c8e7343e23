/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* front.h ends what most packets are, before anything is written down about them: traffic of no service, connections that pass whatever
 * comes, and SYNs of sources that their prefixes alone condemn. Everything else is the dataplane's, from the beginning.
 *
 *   no service ─────────────────────────▶ PASS
 *   flow that passes, nothing to ask ───▶ PASS
 *   SYN, condemned by its prefixes ─────▶ DROP, unless something stands above that or somebody is to be told
 *   all else ───────────────────────────▶ spillway_dataplane
 *
 * It is no second dataplane: it calls the same functions, counts by the same count(), and has no verdict that the dataplane would not
 * have (test/dataplane/progrun/front_test.go). Before the flow it drops a SYN alone: a visitor whose connection stands is never cut by a
 * swap. What it leaves is judged anew under one control word, so no packet is judged by two.
 *
 * Its packet stays in registers, for no function that is called takes its address: each inlined function that did would cost all of them. */
#ifndef SPILLWAY_FRONT_H
#define SPILLWAY_FRONT_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "flow.h"
#include "judge.h"
#include "maps.h"
#include "packet.h"
#include "plain.h"
#include "service.h"
#include "stats.h"

/* No XDP action: the dataplane decides. */
#define FRONT_LEAVES (-1)

/* passes_anyway says whether p belongs to a flow that passes, and no packet like it changes that. */
static __always_inline bool passes_anyway(struct packet *p, const struct runtime *rt)
{
	struct flow_name name __attribute__((aligned(8)));
	name_by(&name, &p->key, &rt->name_keys); /* a call of find_flow's costs 15 ns here: all registers are taken */
	struct flow *flow = bpf_map_lookup_elem(&flows, &name);
	if (!flow || flow->verdict != VERDICT_PASS || flow->ban_epoch != (__u32)rt->ban_epoch)
		return false;
	__u8 hint = flow->hint;
	if (hint & HINT_NO_SOCKET)
		p->flags |= PACKET_REMOTE;
	return !(hint & (HINT_SYN | HINT_END)) && !(p->payload_len && is_beginning(p, flow));
}

/* Rules of one chain that the front adds up; a longer one is the dataplane's. */
#define FRONT_RULES 4

/* What the rules of a chain that count now say together. */
struct sum {
	__s32 score;
	__s32 best;
	__u32 flags; /* enum rule_flags, of any */
	__u64 rules; /* 16 bits each, from 1 on: an array would have the verifier follow every way to fill it */
};

/* sum_chain adds them up, or returns false where there are too many. */
static __always_inline bool sum_chain(struct sum *s, void *nodes, __u32 head, __u64 now_ns)
{
	for (int i = 0; i < FRONT_RULES && head; i++) {
		struct rule_node *node = bpf_map_lookup_elem(nodes, &head);
		if (!node)
			return false;
		head = node->next;
		if (now_ns >= node->expires_ns)
			continue;
		s->score += node->score;
		s->best = node->score > s->best ? node->score : s->best;
		s->flags |= node->flags;
		s->rules = s->rules << 16 | (node->rule + 1);
	}
	return !head;
}

/* count_rules counts a match of each. Where none is, count_rule has a number that no rule has: cheaper than a branch that the verifier
 * follows both ways. */
static __always_inline void count_rules(__u32 slot, __u64 rules)
{
	for (int i = 0; i < FRONT_RULES; i++) {
		count_rule(slot, (rules & 0xffff) - 1);
		rules >>= 16;
	}
}

/* is_above says whether anything may stand above a block of p by its generation: what it is the dataplane knows. */
static __always_inline bool is_above(const struct packet *p, const struct runtime *rt, const struct host *h)
{
	return agent_lost(p, h) || is_vouched(p, rt) || is_on_trial(p) ||
	       (may_have_row(h->listed, p) && protection_of(p) != CLASS_NONE) ||
	       (may_have_row(rt->banned, p) && is_banned(p));
}

/* is_condemned says whether p, a SYN, is dropped for what the prefixes of its source say, whatever else the generation would find. It
 * counts their rules then; those of other features are not looked at, so they are not counted. */
static __always_inline bool is_condemned(struct packet *p, struct runtime *rt)
{
	__u32 service = p->service;
	p->now_ns = clock_ns();
	if (!is_told_enough(p->now_ns)) /* an event wants what the dataplane reads */
		return false;
	p->slot = choose_slot(p, rt);
	struct generation *g = generation_in(p->slot);
	struct host *h = host_in_force(p);
	bounded(service);
	if (!g || !h || service >= SERVICES_MAX)
		return false;
	p->generation = g->number;
	const struct policy *policy = policy_of(p, g, h, service);
	if (!policy || !policy->alone || most_of_service(g, h, service) < MOST_DROP)
		return false;
	__u32 slot = p->slot, head = is_ipv4(p->key.saddr) ? prefix4_in(slot, bpf_ntohl(p->key.saddr[3]))
							   : prefix6_in(slot, p->key.saddr);
	void *nodes = head ? bpf_map_lookup_elem(&rules, &slot) : 0;
	if (!nodes)
		return false;
	struct sum s = {};
	if (!sum_chain(&s, nodes, head, p->now_ns) || s.flags & RULE_ALLOW || s.score < policy->alone ||
	    s.best < policy->alone_by || is_above(p, rt, h))
		return false;
	note_untold();
	count_rules(slot, s.rules);
	return true;
}

static __always_inline int end_in_front(struct packet *p, int reason, int action)
{
	count(p, reason);
	return action;
}

/* front returns the XDP action of p, or FRONT_LEAVES. */
static __always_inline int front(struct xdp_md *ctx, struct packet *p)
{
	struct runtime *rt = get_words();
	if (!rt || !parse_plain(ctx, p))
		return FRONT_LEAVES;
	p->control = *(volatile __u64 *)&rt->control;
	__u32 service = find_service(p, ctx->ingress_ifindex);
	if (!service || service >= SERVICES_MAX)
		return end_in_front(p, REASON_NOT_SERVICE, XDP_PASS);
	if (rt->service_bypass_until_ns[service])
		return FRONT_LEAVES;
	if (!(p->tcp_flags & (TCP_BIT_SYN | TCP_BIT_FIN | TCP_BIT_RST)))
		return passes_anyway(p, rt) ? end_in_front(p, REASON_KNOWN_FLOW, XDP_PASS) : FRONT_LEAVES;
	if (!is_syn(p) || p->payload_len || control_mode(p->control) != MODE_ENFORCE || !is_condemned(p, rt))
		return FRONT_LEAVES;
	p->stage = STAGE_SYN;
	p->outcome = OUTCOME_DROP;
	p->flags |= PACKET_EVENT;
	return end_in_front(p, REASON_PREFIX, XDP_DROP);
}

#endif
