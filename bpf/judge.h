/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* judge.h decides: bans, then what features say together, then the policy's thresholds, then everything that turns a block into a
 * pass, the protected last.
 *
 *   allowed by a rule ──▶ passes
 *   score reaches reset, drop ──▶ blocked      the host file's strongest verdict for the service caps them all
 *                 limit ──▶ held.h: within its rate it passes and is tagged, beyond it is blocked
 *                 tag ──▶ passes, and is tagged */
#ifndef SPILLWAY_JUDGE_H
#define SPILLWAY_JUDGE_H

#include <bpf/bpf_helpers.h>

#include "authority.h"
#include "behind.h"
#include "features.h"
#include "held.h"
#include "maps.h"
#include "packet.h"
#include "root.h"
#include "settings.h"
#include "slots.h"
#include "source.h"

/* choose_verdict returns what the highest threshold that the score reaches asks for, as far as the host file lets it. A reset cannot
 * heal, so only the stable generation makes one; and it is for a connection that a first payload proves, where a SYN can
 * be forged. */
static __always_inline enum verdict choose_verdict(const struct packet *p, const struct policy *policy, __s32 score,
						   __u32 most)
{
	bool drops = policy->drop && score >= policy->drop;
	bool resets = policy->reset && score >= policy->reset;
	bool blocks = drops || resets;
	if (blocks && most >= MOST_DROP) {
		if (!resets || most < MOST_RESET || (drops && policy->drop > policy->reset))
			return VERDICT_DROP;
		return p->stage == STAGE_PAYLOAD && p->slot == control_stable(p->control) ? VERDICT_RESET
											  : VERDICT_DROP;
	}
	bool limits = blocks || (policy->limits && score >= policy->limits);
	if (limits && policy->interval && most >= MOST_LIMIT)
		return VERDICT_LIMIT;
	bool tags = limits || (policy->tags && score >= policy->tags);
	return tags && most >= MOST_TAG ? VERDICT_TAG : VERDICT_PASS;
}

/* by_rules names what passes by a rule with a verdict. */
static __always_inline void by_rules(struct packet *p, const struct tally *t, __u32 most)
{
	if (t->allowed) {
		p->reason = REASON_ALLOWED;
		p->rule = t->allow_rule;
		p->score = SCORE_NONE;
	} else if (t->tagged && most >= MOST_TAG) {
		p->reason = t->tagged;
		p->rule = t->tag_rule;
		p->marks |= MARK_TAGGED;
	}
}

/* by_score compares what the features say with the policy of the service. */
static __always_inline void by_score(struct packet *p, const struct tally *t, const struct policy *policy, __u32 most)
{
	if (!t->matched) {
		p->reason = REASON_NO_MATCH;
		return;
	}
	__s32 score = t->score < 0 ? 0 : t->score > 100 ? 100 : t->score;
	p->score = score;
	p->rule = t->rule;
	p->reason = t->reason ? t->reason : REASON_BELOW_THRESHOLD;
	enum verdict verdict = t->allowed ? VERDICT_PASS : choose_verdict(p, policy, score, most);
	if (verdict == VERDICT_PASS) {
		p->reason = REASON_BELOW_THRESHOLD;
		by_rules(p, t, most);
	} else if (verdict == VERDICT_TAG) {
		p->marks |= MARK_TAGGED;
	} else if (!t->strong) {
		p->reason = REASON_WEAK;
		p->marks |= t->tagged || (policy->tags && score >= policy->tags) ? MARK_TAGGED : 0;
	} else if (verdict == VERDICT_LIMIT) {
		p->marks |= MARK_TAGGED | MARK_LIMITED;
		p->expires_ns = t->expires_ns;
	} else {
		p->verdict = verdict;
		p->expires_ns = t->expires_ns;
	}
}

/* Which flag of a policy drops the fragment p: what has no ports may be for any service of its address. */
static __always_inline __u8 fragment_flag(const struct packet *p)
{
	return p->flags & PACKET_TINY ? POLICY_DROP_TINY : POLICY_DROP_FRAGMENTS;
}

/* policy_of returns what the generation g has to say at p's service, and nothing where it was compiled without it. */
static __always_inline const struct policy *policy_of(const struct packet *p, const struct generation *g,
						      const struct host *h, __u32 service)
{
	const struct policy *policy = &g->policies[service];
	return policy->tag != h->services[service].tag || passes_fresh(p, g, h) ? 0 : policy;
}

/* by_slot leaves in p what the generation in a slot makes of it. */
static __always_inline void by_slot(struct packet *p, __u32 slot)
{
	p->slot = slot;
	struct generation *g = generation_in(slot);
	if (!g) {
		p->reason = REASON_NO_GENERATION;
		return;
	}
	p->generation = g->number;
	struct host *h = host_in_force(p);
	__u32 service = p->service;
	bounded(service);
	if (!h || service >= SERVICES_MAX) {
		p->reason = REASON_INTERNAL;
		return;
	}
	const struct policy *policy = policy_of(p, g, h, service);
	if (!policy) {
		p->reason = REASON_NO_POLICY;
		return;
	}
	if (g->reasons[REASON_HELLO_HIDDEN] && h->services[service].kind == KIND_TLS)
		p->flags |= PACKET_ASKED;
	if (p->stage == STAGE_SYN && h->services[service].flags & SERVICE_STRIP_MPTCP)
		p->flags |= PACKET_STRIP;
	__u32 most = most_of_service(g, h, service);
	struct tally t = { .expires_ns = NEVER, .strong_kinds = strong_kinds(p, g, h) };
	add_features(p, &t, g);
	if (policy->interval && !t.allowed)
		note_sharer(p, policy);
	by_score(p, &t, policy, most);
	if (p->flags & PACKET_CUT && p->verdict == VERDICT_PASS && !t.allowed && most >= MOST_DROP &&
	    policy->flags & fragment_flag(p)) {
		p->verdict = VERDICT_DROP;
		p->reason = REASON_FRAGMENT;
		p->score = SCORE_NONE;
		p->flags |= PACKET_UNDECLARED; /* by no rule that an intent could name */
	}
	if (p->verdict != VERDICT_PASS && spares_leaving(p, g, h)) {
		p->verdict = VERDICT_PASS;
		p->reason = REASON_PROTECTED;
	}
}

/* judge_slot judges a copy of a packet by the generation in a slot alone, and returns whether it would block. It counts nothing. */
__noinline int judge_slot(struct packet *p, __u32 slot)
{
	if (!p)
		return 0;
	p->verdict = VERDICT_PASS;
	p->reason = REASON_INTERNAL;
	p->generation = 0;
	p->flags = (p->flags | PACKET_TRIAL) & ~(PACKET_STRONG_REASON | PACKET_UNDECLARED);
	p->marks &= ~MARKS_JUDGED;
	by_slot(p, slot);
	return p->verdict != VERDICT_PASS;
}

/* may_cut says whether the policy in force drops the fragment p. */
__noinline int may_cut(struct packet *p)
{
	struct runtime *rt = get_words();
	if (!p || !rt)
		return 0;
	p->now_ns = clock_ns();
	__u32 service = p->service;
	struct generation *g = generation_in(choose_slot(p, rt));
	struct host *h = host_in_force(p);
	bounded(service);
	return g && h && service < SERVICES_MAX && !passes_fresh(p, g, h) &&
	       most_of_service(g, h, service) >= MOST_DROP && g->policies[service].flags & fragment_flag(p);
}

/* agent_lost says whether nobody is there to lift a mistake, by the host file h. */
static __always_inline bool agent_lost(const struct packet *p, const struct host *h)
{
	struct root_words *root = get_root_words();
	if (!h || !root)
		return true;
	__u64 heartbeat = root->heartbeat_ns;
	return h->agent_timeout_ns != NEVER && p->now_ns > heartbeat && p->now_ns - heartbeat > h->agent_timeout_ns;
}

/* is_spared says whether p's source stands above whoever blocks it. Who is to be protected no longer is spared from a ban for as long as
 * what is stable is behind. */
static __always_inline bool is_spared(const struct packet *p, const struct runtime *rt)
{
	__u32 class = protection_of(p);
	if (class && !(class & CLASS_LEAVES))
		return true;
	if (p->reason != REASON_BAN)
		return is_vouched(p, rt);
	struct generation *g = generation_in(control_stable(p->control));
	struct host *h = host_in_force(p);
	return class && h && (!g || is_behind(g, h));
}

/* spare turns a block into a pass where somebody stands above the bundle. It runs only for packets that would be
 * blocked, so an ordinary visitor pays nothing for it. */
__noinline int spare_blocked(struct packet *p)
{
	struct runtime *rt = get_words();
	if (!p || !rt)
		return 0;
	if (agent_lost(p, host_in_force(p))) {
		p->verdict = VERDICT_PASS;
		p->outcome = OUTCOME_PASS;
		p->reason = REASON_AGENT_LOST;
	} else if (is_spared(p, rt)) {
		p->verdict = VERDICT_PASS;
		p->outcome = OUTCOME_PASS;
		p->reason = REASON_PROTECTED;
	} else if (control_mode(p->control) != MODE_ENFORCE) {
		p->outcome = p->verdict == VERDICT_RESET ? OUTCOME_WOULD_RESET : OUTCOME_WOULD_DROP;
		p->verdict = VERDICT_PASS;
	} else {
		p->outcome = p->verdict == VERDICT_RESET ? OUTCOME_RESET : OUTCOME_DROP;
	}
	return 0;
}

static __always_inline void spare(struct packet *p)
{
	if (p->verdict != VERDICT_PASS)
		spare_blocked(p);
}

/* judge_ban is the part of the judgement that may cut an established connection. */
static __always_inline bool judge_ban(struct packet *p, const struct runtime *rt)
{
	if (!rt->ban_epoch || !is_banned(p))
		return false;
	p->flags |= PACKET_BANNED;
	p->verdict = VERDICT_DROP;
	p->reason = REASON_BAN;
	return true;
}

/* hold_judged asks the limit that judge() left to be asked, for its caller has more of a stack. */
__noinline int hold_judged(struct packet *p)
{
	struct runtime *rt = get_words();
	struct workspace *ws = get_workspace();
	struct generation *g = p ? generation_in(p->slot) : 0;
	struct host *h = p ? host_in_force(p) : 0;
	if (!p || !rt || !ws || !g || !h || is_spared(p, rt) || spares_leaving(p, g, h))
		return 0;
	__u32 service = p->service;
	bounded(service);
	hold(p, g, ws, service < SERVICES_MAX && most_of_service(g, h, service) >= MOST_RESET);
	if (p->verdict == VERDICT_PASS)
		return 0;
	p->own = p->verdict;
	if (!(p->flags & PACKET_TRIAL))
		spare(p);
	return 1;
}

/* judge leaves verdict, outcome, reason and what they rest on in p; where its score reaches a limit, MARK_LIMITED says so. */
__noinline int judge(struct packet *p)
{
	__u32 zero = 0;
	struct runtime *rt = bpf_map_lookup_elem(&words, &zero);
	if (!p || !rt)
		return REASON_INTERNAL;
	if (!p->now_ns)
		p->now_ns = clock_ns();
	p->verdict = VERDICT_PASS;
	p->outcome = OUTCOME_PASS;
	p->reason = REASON_INTERNAL;
	p->score = SCORE_NONE;
	p->expires_ns = NEVER;
	p->own = VERDICT_PASS;
	p->flags = (p->flags | PACKET_EVENT) & ~(PACKET_STRONG_REASON | PACKET_UNDECLARED);
	p->marks &= ~MARKS_JUDGED;
	if (!judge_ban(p, rt)) {
		by_slot(p, choose_slot(p, rt));
		p->own = p->verdict;
	}
	spare(p);
	return p->reason;
}

#endif
