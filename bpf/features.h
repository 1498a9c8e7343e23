/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* features.h adds up what the rules of a generation say of a packet: by its source, its SYN, its ClientHello, both together, and what
 * could not be read of it. */
#ifndef SPILLWAY_FEATURES_H
#define SPILLWAY_FEATURES_H

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
	__u8 strong;  /* something speaks against the source that may block it, not only weak reasons */
	__u8 allowed; /* the kind of what a rule allows */
	__u8 tagged;  /* and of what a rule tags */
	__u8 pad;
	__u16 allow_rule;
	__u16 tag_rule;
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
	(KIND(REASON_PREFIX) | KIND(REASON_TCP_FINGERPRINT) | KIND(REASON_TCP_SIGNATURE) | KIND(REASON_JA4) |          \
	 KIND(REASON_PAIR))
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

/* add_verdict adds a rule that has a verdict in place of a score. */
static __always_inline void add_verdict(struct tally *t, const struct rule_node *node, __u32 kind)
{
	if (node->flags & RULE_ALLOW && !t->allowed) {
		t->allowed = kind;
		t->allow_rule = node->rule;
	}
	if (node->flags & RULE_TAG && !t->tagged) {
		t->tagged = kind;
		t->tag_rule = node->rule;
	}
}

static __always_inline void add_rule(struct packet *p, struct tally *t, const struct rule_node *node, __u32 kind)
{
	bool is_strong = node->score > 0 && t->strong_kinds >> (kind & 63) & 1;
	t->matched = 1;
	t->score += node->score;
	if (node->flags & (RULE_ALLOW | RULE_TAG))
		add_verdict(t, node, kind);
	if (is_strong) {
		t->strong = 1;
		if (is_askable(kind))
			p->flags |= PACKET_STRONG_REASON;
	}
	if (node->score > 0 && node->flags & RULE_DECLARED)
		p->marks |= MARK_DECLARED;
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

/* add_node adds the rule at `node`, while it counts, and returns the next one of its chain. It does one, and not all:
 * most chains have no more, and the verifier looks at it once. */
__noinline int add_node(struct packet *p, struct tally *t, __u32 node, __u32 kind)
{
	if (!p || !t)
		return 0;
	__u32 slot = p->slot;
	void *nodes = bpf_map_lookup_elem(&rules, &slot);
	const struct rule_node *rule = nodes ? bpf_map_lookup_elem(nodes, &node) : 0;
	if (!rule)
		return 0;
	if (p->now_ns < rule->expires_ns)
		add_rule(p, t, rule, kind);
	return rule->next;
}

/* add_chain adds one match: a chain of rules, one for each list that knows the source. */
static __always_inline void add_chain(struct packet *p, struct tally *t, __u32 head, __u32 kind)
{
	for (int i = 0; i < RULE_CHAIN_MAX && head; i++)
		head = add_node(p, t, head, kind);
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

/* match_ja4 returns the head of the chain of the feature that fits the ClientHello in the workspace, 0 for none, and leaves there what
 * the catalogue says of it. */
__noinline int match_ja4(__u32 slot, __u32 forms)
{
	struct workspace *ws = get_workspace();
	void *features = bpf_map_lookup_elem(&ja4s, &slot);
	if (ws)
		ws->tls_family = ws->kind = 0;
	if (!forms || !ws || !features)
		return 0;
	for (__u32 i = 0; i < sizeof(ja4_forms); i++) {
		__u32 form = ja4_forms[i] & (JA4_FORMS - 1);
		if (!(forms >> form & 1))
			continue;
		struct ja4_key key = {};
		fill_ja4_key(&key, &ws->tls, form);
		__u32 *value = bpf_map_lookup_elem(features, &key);
		if (!value)
			continue;
		ws->is_named = 1;
		ws->tls_family = *value >> VALUE_FAMILY & 0xff;
		ws->kind = *value >> VALUE_KIND;
		return *value & 0xffff;
	}
	return 0;
}

/* match_pair returns the head of the chain of the pair of SYN and ClientHello, 0 for none. */
static __always_inline __u32 match_pair(const struct packet *p, const struct generation *g)
{
	struct workspace *ws = get_workspace();
	if (!ws)
		return 0;
	__u32 at = (p->families & (TCP_FAMILIES - 1)) * TLS_FAMILIES + (ws->tls_family & (TLS_FAMILIES - 1));
	bounded(at);
	return at < TCP_FAMILIES * TLS_FAMILIES ? g->pairs[at] : 0;
}

/* add_hello adds what the ClientHello says, and its pair with the SYN. */
static __always_inline void add_hello(struct packet *p, struct tally *t, const struct generation *g)
{
	__u32 forms = p->flags & PACKET_HAS_TLS    ? g->ja4_forms
		      : p->flags & PACKET_HAS_HEAD ? g->ja4_forms & HEAD_FORMS
						   : 0;
	if (!forms)
		return;
	__u32 head = match_ja4(p->slot, forms);
	if (head)
		add_chain(p, t, head, REASON_JA4);
	if (g->pair_count && p->families && (head = match_pair(p, g)))
		add_chain(p, t, head, REASON_PAIR);
}

static __always_inline void add_features(struct packet *p, struct tally *t, const struct generation *g)
{
	__u32 slot = p->slot;
	__u32 head = prefix_lookup(p, slot);
	if (head)
		add_chain(p, t, head, REASON_PREFIX);
	if (t->allowed)
		return;
	if (p->flags & PACKET_HAS_FINGERPRINT) {
		/* Linux 6.1 takes a key from the stack, but not from the memory behind an argument. */
		struct tcp_fingerprint key = p->fingerprint;
		void *inner = bpf_map_lookup_elem(&tcp_fingerprints, &slot);
		__u32 *value = inner ? bpf_map_lookup_elem(inner, &key) : 0;
		if (value)
			add_chain(p, t, *value, REASON_TCP_FINGERPRINT);
	}
	if (p->facts.version && (g->tcp_signatures | g->pair_count) && (head = match_signature(p)))
		add_chain(p, t, head, REASON_TCP_SIGNATURE);
	add_hello(p, t, g);
	__u32 weak = p->weak_reason;
	if (!weak)
		return;
	bounded(weak);
	if (weak < REASON_MAX && g->reasons[weak])
		add_chain(p, t, g->reasons[weak], weak);
}

#endif
