/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* held.h holds connections to the limit of their policy. What is charged is a first payload that somebody vouches for, once a
 * connection: what strangers can forge charges nobody, and is never over a limit.
 *
 *   over, and it is dropped ──▶ blocked until there is room: the client's next try is judged again, and charged
 *   over, and it is reset ──▶ blocked, for a reset cannot heal
 *   a SYN with data (Fast Open), data that begins early, or with an ACK of before ──▶ dropped by itself: its server might take it, and
 *       nobody is charged with it; an honest client repeats it without (RFC 7413 section 4.2.1), or never sent such a thing
 *
 * A new generation has the words of the old one where their limits are the same: policy.limit names them. Where generations are
 * compared, a copy of a packet is charged once to each limit that is not the deciding one's; a limit that is, and was not charged, has words
 * of the copy's generation alone, so that what decides for nobody spends nobody's rate.
 *
 * The protected are not charged: whoever stands above a block uses up nobody's rate. */
#ifndef SPILLWAY_HELD_H
#define SPILLWAY_HELD_H

#include <bpf/bpf_helpers.h>

#include "authority.h"
#include "limit.h"
#include "maps.h"
#include "packet.h"
#include "sharer.h"
#include "source.h"

/* is_chargeable says whether p is a connection to a limit, and not only a part of one. */
static __always_inline bool is_chargeable(const struct packet *p, const struct workspace *ws)
{
	return p->marks & MARK_CHARGES && !(p->flags & PACKET_HELLO_PARTIAL) && !ws->is_doubted;
}

/* family_key keeps IPv4 sources from IPv6 ones whose first bytes are the same. */
static __always_inline __u64 family_key(const struct packet *p)
{
	return is_ipv4(p->key.saddr) ? 0x34ULL << 56 : 0;
}

/* sip_source begins a hash of p's source: an IPv4 address, of IPv6 the /64. */
static __always_inline void sip_source(struct sip *s, const struct packet *p, __u64 key0, __u64 key1)
{
	sip_start(s, key0 ^ family_key(p), key1);
	sip_word(s, is_ipv4(p->key.saddr) ? p->key.saddr[3] : pair64(p->key.saddr[0], p->key.saddr[1]));
}

static __always_inline bool asks_sharers(const struct policy *policy)
{
	return policy->shared > 1 && policy->by != LIMIT_BY_PREFIX;
}

/* kinds_of notes a kind of client of p's source, 0 for none, and returns how many it has. */
__noinline int kinds_of(struct packet *p, __u32 kind)
{
	struct runtime *rt = get_words();
	struct sip s;
	if (!p || !rt)
		return 0;
	sip_source(&s, p, rt->seed[0] ^ 0x73686172, rt->seed[1]);
	return note_kind(sip_end(&s), kind, p->now_ns / SHARER_PERIOD);
}

/* note_sharer notes which kind of client p's source shows, whatever its score. */
static __always_inline void note_sharer(struct packet *p, const struct policy *policy)
{
	struct workspace *ws = get_workspace();
	if (ws && asks_sharers(policy) && is_chargeable(p, ws) && p->flags & PACKET_HAS_TLS && ws->kind)
		kinds_of(p, ws->kind);
}

/* key_of returns a keyed hash of what p is charged to; number is that of the generation whose words these are alone, 0 for those of
 * the limit. */
static __always_inline __u64 key_of(const struct packet *p, const struct policy *policy, const struct workspace *ws,
				    const struct runtime *rt, __u32 number)
{
	struct sip s;
	__u64 key = rt->seed[0] ^ pair64(policy->limit, number);
	if (policy->by == LIMIT_BY_PREFIX)
		return hash_prefix(p, key ^ family_key(p), rt->seed[1]);
	sip_source(&s, p, key, rt->seed[1]);
	if (policy->by == LIMIT_BY_FINGERPRINT) {
		bool has_tls = p->flags & PACKET_HAS_TLS;
		const __u64 *tls = (const __u64 *)&ws->tls, *tcp = (const __u64 *)&p->fingerprint;
		for (int i = 0; i < 4; i++)
			sip_word(&s, has_tls ? tls[i] : p->flags & PACKET_HAS_FINGERPRINT ? tcp[i] : 0);
	}
	return sip_end(&s);
}

/* charge_limit charges p to the limit of its slot, and notes in the workspace whether it is over, and until when. number is that of the
 * generation whose words these are alone, 0 for those of the limit. */
__noinline int charge_limit(struct packet *p, __u32 at, __u32 number)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	struct generation *g = p ? generation_in(p->slot) : 0;
	if (!p || !ws || !rt || !g || at >= LIMITED_MAX)
		return 0;
	__u32 service = p->service;
	bounded(service);
	if (service >= SERVICES_MAX)
		return 0;
	const struct policy *policy = &g->policies[service];
	struct limit *l = &ws->limit;
	__u64 hash = key_of(p, policy, ws, rt, number);
	__u32 shared = asks_sharers(policy) && kinds_of(p, 0) >= SHARED_FROM ? policy->shared : 1;
	l->set = hash & (LIMIT_SETS - 1);
	l->name = name_of(hash);
	l->burst = policy->burst * shared;
	l->interval = shared > 1 ? policy->interval / shared + 1 : policy->interval;
	l->now = p->now_ns >> LIMIT_UNIT;
	l->wait = 0;
	bounded(at);
	struct limited *said = &ws->limited[at & (LIMITED_MAX - 1)];
	said->limit = policy->limit;
	said->is_over = admit();
	said->room_ns = p->now_ns + ((l->wait + 1) << LIMIT_UNIT);
	return 0;
}

/* is_twin says whether the generation that decides on the packet at work has the limit of one that judges a copy of it, but did not
 * charge it: its words are then none of the copy's. */
static __always_inline bool is_twin(const struct packet *p, const struct policy *policy, const struct workspace *ws)
{
	if (!(p->flags & PACKET_TRIAL) || p->slot == ws->packet.slot)
		return false;
	struct generation *g = generation_in(ws->packet.slot);
	__u32 service = p->service;
	bounded(service);
	return g && service < SERVICES_MAX && g->policies[service].limit == policy->limit;
}

/* ask_limit returns whether p is over the limit of the generation in its slot, and leaves in the workspace when there will be room. A
 * limit is asked once a packet, however many generations have it. */
static __always_inline bool ask_limit(struct packet *p, const struct generation *g, struct workspace *ws)
{
	__u32 service = p->service, count = ws->limited_count;
	bounded(service);
	if (service >= SERVICES_MAX)
		return false;
	const struct policy *policy = &g->policies[service];
	__u32 at = LIMITED_MAX;
	for (__u32 i = 0; i < LIMITED_MAX; i++) {
		if (at == LIMITED_MAX && (i >= count || ws->limited[i].limit == policy->limit))
			at = i;
	}
	if (at >= LIMITED_MAX)
		return false;
	bounded(at);
	struct limited *said = &ws->limited[at & (LIMITED_MAX - 1)];
	if (at >= count) {
		ws->limited_count = at + 1;
		charge_limit(p, at, is_twin(p, policy, ws) ? g->number : 0);
	}
	ws->room_ns = said->room_ns;
	return said->is_over;
}

/* is_alone says whether p is dropped by itself where its score reaches a limit: its server may take it, and nobody is charged with it.
 * Its client repeats it as one that is. */
static __always_inline bool is_alone(const struct packet *p, const struct workspace *ws)
{
	if (p->stage == STAGE_SYN)
		return p->payload_len;
	return !(p->flags & PACKET_HELLO_PARTIAL) &&
	       (p->marks & MARK_PART || (p->marks & MARK_CHARGES && ws->is_doubted));
}

/* end_wait has a block that drops for being over a limit end when there is room. */
static __always_inline void end_wait(struct packet *p, const struct workspace *ws)
{
	if (ws->room_ns < p->expires_ns)
		p->expires_ns = ws->room_ns;
}

/* hold asks the limit of p's policy, whose score reaches it, and leaves in p whether it is blocked. may_reset says that the host file
 * lets bundles reset here. */
static __always_inline void hold(struct packet *p, const struct generation *g, struct workspace *ws, bool may_reset)
{
	if (is_alone(p, ws)) {
		p->verdict = VERDICT_DROP;
		p->marks |= p->stage == STAGE_SYN ? 0 : MARK_OVER; /* a SYN is no connection yet */
		return;
	}
	if (!is_chargeable(p, ws))
		return;
	__u32 service = p->service;
	bounded(service);
	bool is_over = ask_limit(p, g, ws);
	p->marks |= MARK_SPENT;
	if (!is_over || service >= SERVICES_MAX) {
		p->expires_ns = NEVER;
		return;
	}
	bool resets = g->policies[service].over == VERDICT_RESET && may_reset && p->stage == STAGE_PAYLOAD &&
		      p->slot == control_stable(p->control);
	p->verdict = resets ? VERDICT_RESET : VERDICT_DROP;
	p->marks = (p->marks & ~MARK_TAGGED) | MARK_OVER;
	if (!resets)
		end_wait(p, ws);
}

#endif
