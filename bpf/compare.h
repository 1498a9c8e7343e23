/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* compare.h compares the verdicts of two generations on the packet in the workspace. It is the work of a program of its own,
 * behind the others and with a stack for itself, and only while the control word has a pair.
 *
 *   the first payload of a connection that somebody vouches for ──▶ compare_lane, for each lane
 *     both verdicts, without bans and without what stands above a bundle ──▶ blame, vote, arms
 *     an extra block that rests on nothing declared, of what is under budget ──▶ charge: it holds, or passes
 *   another payload that was decided ──▶ counted as unconfirmed
 *   a block of what can be forged, by a generation on trial ──▶ defer
 *   the RST of a client ──▶ note_reset
 *
 * What strangers can forge moves no vote, no arm and no budget. */
#ifndef SPILLWAY_COMPARE_H
#define SPILLWAY_COMPARE_H

#include <bpf/bpf_helpers.h>

#include "arms.h"
#include "charge.h"
#include "confirm.h"
#include "flow.h"
#include "judge.h"
#include "maps.h"
#include "packet.h"
#include "source.h"
#include "votes.h"

static __always_inline __u64 lane_check(__u64 numbers, __u64 where)
{
	return mix64(mix64(0x6c616e65, numbers), where);
}

/* The program's first look: which packets it is for. */
static __always_inline bool is_evidence(const struct packet *p)
{
	__u32 needed = PACKET_PROVEN | PACKET_CONNECTION;
	return (p->flags & needed) == needed && !(p->flags & PACKET_BANNED);
}

static __always_inline bool is_blocked(const struct packet *p)
{
	return p->outcome == OUTCOME_DROP || p->outcome == OUTCOME_RESET;
}

/* is_deferrable says whether p is a block that nobody could count, by a generation that is on trial, for more than what it
 * declared. */
static __always_inline bool is_deferrable(const struct packet *p)
{
	return is_blocked(p) && p->flags & PACKET_UNDECLARED && is_on_trial(p) && !is_evidence(p);
}

/* is_client_reset says whether p is an RST to a connection that is known. */
static __always_inline bool is_client_reset(const struct packet *p)
{
	return p->tcp_flags & TCP_BIT_RST && p->flags & PACKET_OF_FLOW && !p->payload_len;
}

/* asks_comparison says whether a packet of the first program goes to this one. A function of its own for the verifier. */
__noinline int asks_comparison(struct packet *p)
{
	return p && (is_deferrable(p) || is_client_reset(p));
}

/* is_compared says so of one whose payload was looked at. */
static __always_inline bool is_compared(const struct packet *p)
{
	return control_pair(p->control) && (p->flags & (PACKET_DECIDED | PACKET_CONNECTION) || is_deferrable(p));
}

/* read_lane says whether the lane compares something now. A lane whose words are torn, or name a generation that is in its
 * slot no more, compares nothing. */
__noinline int read_lane(__u32 lane)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	if (!ws || !rt || lane >= LANES)
		return 0;
	struct comparison *c = &ws->comparison;
	const volatile struct lane *l = &rt->lanes[lane];
	__u64 numbers = l->numbers, where = l->where;
	if (!(numbers >> 32) || l->check != lane_check(numbers, where))
		return false;
	c->lane = lane;
	c->old_number = numbers;
	c->new_number = numbers >> 32;
	c->old_slot = where & (SLOTS - 1);
	c->new_slot = where >> LANE_NEW_SLOT & (SLOTS - 1);
	const volatile struct lane *both = rt->lanes;
	c->runs[LANE_MAIN] = both[LANE_MAIN].where >> LANE_RUN & 0xffff;
	c->runs[LANE_FAST] = both[LANE_FAST].where >> LANE_RUN & 0xffff;
	c->day = day_of(ws->packet.now_ns);
	return c->runs[lane] && is_number_of(c->old_slot, c->old_number) && is_number_of(c->new_slot, c->new_number);
}

/* judge_again returns whether the generation in a slot would block the packet at work, and leaves in the workspace what its
 * verdict rests on. The packet itself stays as it is. */
static __always_inline bool judge_again(struct workspace *ws, __u32 slot)
{
	ws->trial = ws->packet;
	ws->part_count = ws->total = ws->is_more_strong = 0;
	bool is_blocked = judge_slot(&ws->trial, slot);
	return ws->trial.marks & MARK_LIMITED ? hold_judged(&ws->trial) : is_blocked;
}

/* blocks says what a generation makes of the packet at work: what decided need not be asked again. */
static __always_inline bool blocks(struct workspace *ws, __u32 slot, __u32 number)
{
	if (ws->packet.slot == slot && ws->packet.generation == number)
		return ws->packet.own != VERDICT_PASS;
	return judge_again(ws, slot);
}

/* The score from which the policy of p's service in a slot blocks, 0 for never. */
static __always_inline __s32 threshold_of(const struct packet *p, __u32 slot)
{
	struct generation *g = generation_in(slot);
	__u32 service = p->service;
	bounded(service);
	if (!g || service >= SERVICES_MAX)
		return 0;
	const struct policy *policy = &g->policies[service];
	__u32 from = policy->drop && (!policy->reset || policy->drop < policy->reset) ? policy->drop : policy->reset;
	return policy->limits && (!from || policy->limits < from) ? policy->limits : from;
}

/* is_decisive says whether the block would be none without the rule. */
__noinline int is_decisive(__u32 rule, __s32 threshold)
{
	struct workspace *ws = get_workspace();
	if (!ws)
		return 0;
	__s32 rest = ws->total;
	bool is_strong = ws->is_more_strong;
	for (__u32 i = 0; i < PARTS_MAX; i++) {
		const struct part *part = &ws->parts[i];
		if (i >= ws->part_count)
			break;
		if (part->rule == rule)
			rest -= part->score;
		else
			is_strong |= part->is_strong;
	}
	return rest < threshold || !is_strong;
}

/* weigh finds the rules that a block rests on, which judge_again left, and names them in key. */
__noinline int weigh(struct pair_key *key, __u32 slot)
{
	struct workspace *ws = get_workspace();
	if (!key || !ws)
		return 0;
	const struct packet *p = &ws->trial;
	key->rule = RULE_SEVERAL;
	key->is_declared = !(p->flags & PACKET_UNDECLARED);
	ws->decisive = 0;
	/* By the policy: a rule that scores fragments leaves its score. */
	if (p->reason == REASON_FRAGMENT && p->score == SCORE_NONE) {
		key->rule = RULE_NONE;
		return 0;
	}
	__s32 threshold = threshold_of(p, slot);
	for (__u32 i = 0; i < PARTS_MAX; i++) {
		const struct part *part = &ws->parts[i];
		if (i >= ws->part_count)
			break;
		if (!is_decisive(part->rule, threshold))
			continue;
		ws->decisive |= 1U << i;
		if (part->rule == p->rule) {
			key->rule = part->rule;
			key->is_declared = part->is_declared;
		}
	}
	return 0;
}

/* blame_rules counts each rule once that the block rests on. */
__noinline int blame_rules(__u32 lane, __u32 generation)
{
	struct workspace *ws = get_workspace();
	if (!ws)
		return 0;
	for (__u32 i = 0; i < PARTS_MAX; i++) {
		bool is_repeated = false;
		if (!(ws->decisive >> i & 1))
			continue;
		for (__u32 j = 0; j < i; j++)
			is_repeated |= ws->parts[j].rule == ws->parts[i].rule;
		if (!is_repeated)
			add_blame(lane, generation, ws->parts[i].rule);
	}
	return 0;
}

/* note_hit keeps a protected source that would newly be blocked. Of two at once one is kept. */
static __always_inline void note_hit(const struct packet *p, struct trial *t, const struct pair_key *key)
{
	struct hit *h = &t->hit;
	__u32 done = *(volatile __u32 *)&h->done;
	if (__sync_val_compare_and_swap(&h->begun, done, done + 1) != done)
		return;
	h->generation = key->generation;
	h->rule = key->rule;
	__builtin_memcpy(h->saddr, p->key.saddr, sizeof(h->saddr));
	h->time_ns = p->now_ns;
	h->class = key->class;
	h->service = key->service;
	h->is_declared = key->is_declared;
	barrier();
	*(volatile __u32 *)&h->done = done + 1;
}

/* pair_of judges the packet at work by both generations. */
__noinline int pair_of(struct pair_key *key)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	if (!key || !ws || !rt)
		return PAIR_NONE;
	const struct comparison *c = &ws->comparison;
	bool old = blocks(ws, c->old_slot, c->old_number), new = blocks(ws, c->new_slot, c->new_number);
	key->generation = c->new_number;
	key->lane = c->lane;
	key->service = ws->packet.service;
	key->rule = RULE_NONE;
	key->pair = old ? new ? PAIR_BOTH_BLOCK : PAIR_NEW_PASS : new ? PAIR_NEW_BLOCK : PAIR_BOTH_PASS;
	if (key->pair != PAIR_NEW_BLOCK)
		return key->pair;
	judge_again(ws, c->new_slot);
	weigh(key, c->new_slot);
	key->class = class_of(&ws->packet, rt);
	return key->pair;
}

/* compare_lane counts the packet at work in a lane. It returns whether it shall pass after all. */
__noinline int compare_lane(__u32 lane)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	struct pair_key key = {};
	struct trial *t = bpf_map_lookup_elem(&trials, &lane);
	struct lane_count *n = counts_of(lane);
	if (!ws || !rt || !t || !n || !read_lane(lane))
		return 0;
	const struct comparison *c = &ws->comparison;
	struct packet *p = &ws->packet;
	if (!is_evidence(p)) {
		n->unconfirmed += 1;
		return 0;
	}
	if (!(p->flags & PACKET_COUNTED)) {
		n->connections += 1;
		note_traffic(p, t);
	}
	pair_of(&key);
	if (vote(&key) && key.pair == PAIR_NEW_BLOCK)
		blame_rules(lane, c->new_number);
	if (key.class != CLASS_NONE)
		note_hit(p, t, &key);
	if (lane == LANE_MAIN)
		note_arms(p, c, &key, t, key.is_declared || allowed_of(rt, lane));
	bool is_extra = key.pair == PAIR_NEW_BLOCK && !key.is_declared && is_blocked(p);
	if (!is_extra || !control_budget(p->control) || p->generation != c->new_number)
		return 0;
	return charge(lane, c->new_number);
}

#endif
