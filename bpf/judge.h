/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* judge.h decides: bans, then features summed to a score, then the policy's threshold, then everything that turns a
 * block into a pass, the protected last. */
#ifndef SPILLWAY_JUDGE_H
#define SPILLWAY_JUDGE_H

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "authority.h"
#include "behind.h"
#include "hash.h"
#include "ja4.h"
#include "maps.h"
#include "packet.h"
#include "root.h"
#include "settings.h"
#include "signature.h"
#include "slots.h"
#include "source.h"

struct tally {
	__s32 score;
	__s32 best;       /* the largest contribution, its rule and its kind name the decision */
	__u64 expires_ns; /* when the first contribution ends */
	__u16 rule;
	__u8 reason;
	__u8 matched;
	__u8 strong; /* something speaks against the source that may block it, not only weak reasons */
	__u8 pad[3];
	__u64 strong_kinds; /* a bit each: what may */
};

static __always_inline void count_rule(__u32 slot, __u32 rule)
{
	if (rule >= settings.rules_max)
		return;
	__u32 index = slot * settings.rules_max + rule;
	__u64 *hits = bpf_map_lookup_elem(&rule_hits, &index);
	if (hits)
		*hits += 1;
}

#define KIND(reason) (1ULL << (reason))

/* Matches that say something of the source, whoever asks. */
#define STRONG_KINDS                                                                                                   \
	(KIND(REASON_PREFIX) | KIND(REASON_TCP_FINGERPRINT) | KIND(REASON_TCP_SIGNATURE) | KIND(REASON_JA4))
/* Reasons that only a client makes, on a connection whose ISN is proven: strong where a rule scores them. */
#define CLIENT_KINDS (KIND(REASON_HELLO_HIDDEN) | KIND(REASON_HELLO_OVERLAP) | KIND(REASON_HELLO_MALFORMED))
/* Those that ordinary clients and health checks make too: strong where the host file accepts them, besides. All others a
 * network makes, or we do: weak for ever. */
#define ACCEPTABLE_KINDS (KIND(REASON_NOT_HELLO) | KIND(REASON_HELLO_URGENT) | KIND(REASON_HELLO_TOO_LONG))

/* is_askable says whether some policy may block for the reason alone. */
static __always_inline bool is_askable(__u32 reason)
{
	return reason < REASON_MAX && (CLIENT_KINDS | ACCEPTABLE_KINDS) >> reason & 1;
}

/* strong_kinds returns what may block p. Without proof of the connection anybody could have sent its bytes. */
static __always_inline __u64 strong_kinds(const struct packet *p, const struct generation *g, const struct host *h)
{
	if (!(p->flags & PACKET_PROVEN))
		return STRONG_KINDS;
	__u64 accepted = is_behind(g, h) ? h->accepted_before : h->accepted_reasons;
	return STRONG_KINDS | CLIENT_KINDS | (accepted & ACCEPTABLE_KINDS);
}

/* note_part leaves in the workspace what a rule contributes to a verdict that is compared. */
static __always_inline void note_part(const struct rule_node *node, bool is_strong)
{
	struct workspace *ws = get_workspace();
	if (!ws)
		return;
	__u32 at = ws->part_count;
	ws->total += node->score;
	if (at >= PARTS_MAX) {
		ws->is_more_strong |= is_strong;
		return;
	}
	ws->part_count = at + 1;
	struct part *part = &ws->parts[at & (PARTS_MAX - 1)];
	part->score = node->score;
	part->rule = node->rule;
	part->is_strong = is_strong;
	part->is_declared = node->flags & RULE_DECLARED;
}

static __always_inline void add_rule(struct packet *p, struct tally *t, const struct rule_node *node, __u32 kind)
{
	bool is_strong = node->score > 0 && t->strong_kinds >> (kind & 63) & 1;
	t->matched = 1;
	t->score += node->score;
	if (is_strong) {
		t->strong = 1;
		if (is_askable(kind))
			p->flags |= PACKET_STRONG_REASON;
	}
	if (node->score > 0 && node->flags & RULE_DECLARED)
		p->has_declared = 1;
	else if (node->score > 0)
		p->flags |= PACKET_UNDECLARED;
	if (node->expires_ns < t->expires_ns)
		t->expires_ns = node->expires_ns;
	if (node->score > t->best) {
		t->best = node->score;
		t->rule = node->rule;
		t->reason = kind;
	}
	if (p->flags & PACKET_TRIAL)
		note_part(node, is_strong);
	else
		count_rule(p->slot, node->rule);
}

/* add_chain adds one match: a chain of rules, one for each list that knows the source. */
__noinline int add_chain(struct packet *p, struct tally *t, __u32 head, __u32 kind)
{
	if (!p || !t)
		return REASON_INTERNAL;
	__u32 slot = p->slot;
	void *nodes = bpf_map_lookup_elem(&rules, &slot);
	if (!nodes)
		return REASON_INTERNAL;
	for (int i = 0; i < RULE_CHAIN_MAX && head; i++) {
		struct rule_node *node = bpf_map_lookup_elem(nodes, &head);
		if (!node)
			break;
		head = node->next;
		if (p->now_ns < node->expires_ns)
			add_rule(p, t, node, kind);
	}
	return REASON_CONTINUE;
}

/* The forms of a JA4 feature: the more parts it names the earlier, the exact JA4 before the stable one. The first that
 * matches counts. */
static const __u8 ja4_forms[] = {
	JA4_A | JA4_B | JA4_C,
	JA4_STABLE | JA4_A | JA4_B | JA4_C,
	JA4_A | JA4_B,
	JA4_A | JA4_C,
	JA4_B | JA4_C,
	JA4_STABLE | JA4_A | JA4_B,
	JA4_STABLE | JA4_A | JA4_C,
	JA4_STABLE | JA4_B | JA4_C,
	JA4_A,
	JA4_B,
	JA4_C,
	JA4_STABLE | JA4_A,
	JA4_STABLE | JA4_B,
	JA4_STABLE | JA4_C,
};

/* Those that name the first part alone. */
#define HEAD_FORMS (1 << JA4_A | 1 << (JA4_STABLE | JA4_A))

static __always_inline void fill_ja4_key(struct ja4_key *key, const struct tls_fingerprint *t, __u32 form)
{
	key->form = form;
	if (form & JA4_A) {
		__builtin_memcpy(key->a, t->a, sizeof(key->a));
		if (form & JA4_STABLE)
			__builtin_memcpy(&key->a[6], t->stable_count, sizeof(t->stable_count));
	}
	if (form & JA4_B)
		__builtin_memcpy(key->b, t->b, sizeof(key->b));
	if (form & JA4_C)
		__builtin_memcpy(key->c, form & JA4_STABLE ? t->stable_c : t->c, sizeof(key->c));
}

/* match_ja4 returns the head of the chain of the feature that fits the ClientHello in the workspace, 0 for none. */
__noinline int match_ja4(__u32 slot, __u32 forms)
{
	struct workspace *ws = get_workspace();
	void *features = bpf_map_lookup_elem(&ja4s, &slot);
	if (!forms || !ws || !features)
		return 0;
	for (__u32 i = 0; i < sizeof(ja4_forms); i++) {
		__u32 form = ja4_forms[i] & (JA4_FORMS - 1);
		if (!(forms >> form & 1))
			continue;
		struct ja4_key key = {};
		fill_ja4_key(&key, &ws->tls, form);
		__u32 *head = bpf_map_lookup_elem(features, &key);
		if (!head)
			continue;
		ws->is_named = 1;
		return *head;
	}
	return 0;
}

static __always_inline void add_features(struct packet *p, struct tally *t, const struct generation *g)
{
	__u32 slot = p->slot;
	__u32 head = prefix_lookup(p, slot);
	if (head)
		add_chain(p, t, head, REASON_PREFIX);
	if (p->flags & PACKET_HAS_FINGERPRINT) {
		/* Linux 6.1 takes a key from the stack, but not from the memory behind an argument. */
		struct tcp_fingerprint key = p->fingerprint;
		void *inner = bpf_map_lookup_elem(&tcp_fingerprints, &slot);
		__u32 *value = inner ? bpf_map_lookup_elem(inner, &key) : 0;
		if (value)
			add_chain(p, t, *value, REASON_TCP_FINGERPRINT);
	}
	if (p->facts.version && g->tcp_signatures && (head = match_signature(p)))
		add_chain(p, t, head, REASON_TCP_SIGNATURE);
	__u32 forms = p->flags & PACKET_HAS_TLS    ? g->ja4_forms
		      : p->flags & PACKET_HAS_HEAD ? g->ja4_forms & HEAD_FORMS
						   : 0;
	if (forms && (head = match_ja4(slot, forms)))
		add_chain(p, t, head, REASON_JA4);
	__u32 weak = p->weak_reason;
	if (!weak)
		return;
	bounded(weak);
	if (weak < REASON_MAX && g->reasons[weak])
		add_chain(p, t, g->reasons[weak], weak);
}

/* choose_verdict returns what the highest threshold that the score reaches asks for. A reset cannot heal, so only the
 * stable generation makes one; and it is for a connection that a first payload proves, where a SYN can be forged. */
static __always_inline enum verdict choose_verdict(const struct packet *p, const struct policy *policy, __s32 score)
{
	bool drops = policy->drop && score >= policy->drop;
	bool resets = policy->reset && score >= policy->reset;
	if (!drops && !resets)
		return VERDICT_PASS;
	if (!resets || (drops && policy->drop > policy->reset))
		return VERDICT_DROP;
	return p->stage == STAGE_PAYLOAD && p->slot == control_stable(p->control) ? VERDICT_RESET : VERDICT_DROP;
}

/* by_score compares what the features say with the policy of the service. */
static __always_inline void by_score(struct packet *p, const struct tally *t, const struct policy *policy)
{
	if (!t->matched) {
		p->reason = REASON_NO_MATCH;
		return;
	}
	__s32 score = t->score < 0 ? 0 : t->score > 100 ? 100 : t->score;
	p->score = score;
	p->rule = t->rule;
	p->reason = t->reason ? t->reason : REASON_BELOW_THRESHOLD;
	enum verdict verdict = choose_verdict(p, policy, score);
	if (verdict == VERDICT_PASS) {
		p->reason = REASON_BELOW_THRESHOLD;
	} else if (!t->strong) {
		p->reason = REASON_WEAK;
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
	const struct policy *policy = &g->policies[service];
	if (policy->tag != h->services[service].tag || passes_fresh(p, g, h)) {
		p->reason = REASON_NO_POLICY;
		return;
	}
	if (g->reasons[REASON_HELLO_HIDDEN] && h->services[service].kind == KIND_TLS)
		p->flags |= PACKET_ASKED;
	if (p->stage == STAGE_SYN && h->services[service].flags & SERVICE_STRIP_MPTCP)
		p->flags |= PACKET_STRIP;
	struct tally t = { .expires_ns = NEVER, .strong_kinds = strong_kinds(p, g, h) };
	add_features(p, &t, g);
	by_score(p, &t, policy);
	if (p->flags & PACKET_CUT && p->verdict == VERDICT_PASS && policy->flags & fragment_flag(p)) {
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
	p->has_declared = 0;
	by_slot(p, slot);
	return p->verdict != VERDICT_PASS;
}

/* may_cut says whether the policy in force drops the fragment p. */
__noinline int may_cut(struct packet *p)
{
	struct runtime *rt = get_words();
	if (!p || !rt)
		return 0;
	p->now_ns = bpf_ktime_get_coarse_ns();
	__u32 service = p->service;
	struct generation *g = generation_in(choose_slot(p, rt));
	struct host *h = host_in_force(p);
	bounded(service);
	return g && h && service < SERVICES_MAX && !passes_fresh(p, g, h) &&
	       g->policies[service].flags & fragment_flag(p);
}

static __always_inline bool agent_lost(const struct packet *p)
{
	struct host *h = host_in_force(p);
	if (!h)
		return true;
	struct root_words *root = get_root_words();
	if (!root)
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
static __always_inline void spare(struct packet *p, const struct runtime *rt)
{
	if (p->verdict == VERDICT_PASS)
		return;
	if (agent_lost(p)) {
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

/* judge leaves verdict, outcome, reason and what they rest on in p. */
__noinline int judge(struct packet *p)
{
	__u32 zero = 0;
	struct runtime *rt = bpf_map_lookup_elem(&words, &zero);
	if (!p || !rt)
		return REASON_INTERNAL;
	if (!p->now_ns)
		p->now_ns = bpf_ktime_get_coarse_ns();
	p->verdict = VERDICT_PASS;
	p->outcome = OUTCOME_PASS;
	p->reason = REASON_INTERNAL;
	p->score = SCORE_NONE;
	p->expires_ns = NEVER;
	p->own = VERDICT_PASS;
	p->flags = (p->flags | PACKET_EVENT) & ~(PACKET_STRONG_REASON | PACKET_UNDECLARED);
	p->has_declared = 0;
	if (!judge_ban(p, rt)) {
		by_slot(p, choose_slot(p, rt));
		p->own = p->verdict;
	}
	spare(p, rt);
	return p->reason;
}

#endif
