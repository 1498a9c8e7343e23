/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* stats.h counts every packet once, and tells of decisions: sampled, rate-limited, never waited for. */
#ifndef SPILLWAY_STATS_H
#define SPILLWAY_STATS_H

#include <bpf/bpf_helpers.h>

#include "hash.h"
#include "maps.h"
#include "packet.h"
#include "settings.h"

static __always_inline struct counter *find_counter(const struct packet *p, __u32 slot, __u32 reason)
{
	__u32 service = p->service < SERVICES_MAX ? p->service : 0;
	__u32 index = (service * COUNTER_SLOTS + slot) * REASON_MAX + reason;
	return bpf_map_lookup_elem(&counters, &index);
}

/* is_repeated says whether this connection was counted as blocked a moment ago, and notes that it is now. */
static __always_inline bool is_repeated(const struct packet *p)
{
	struct runtime *rt = get_words();
	if (!rt)
		return false;
	__u32 isn = p->stage == STAGE_SYN ? p->seq : p->isn;
	__u64 hash = mix64(rt->seed[0], pair64(p->key.saddr[0], p->key.saddr[1]));
	hash = mix64(hash, pair64(p->key.saddr[2], p->key.saddr[3]));
	hash = mix64(hash, pair64(p->key.sport, isn) ^ (__u64)p->key.dport << 16);
	__u32 zero = 0, name = hash >> 32;
	struct block_names *recent = bpf_map_lookup_elem(&recent_blocks, &zero);
	if (!recent)
		return false;
	__u32 *place = &recent->names[hash & (RECENT_BLOCKS - 1)];
	if (*place == name)
		return true;
	*place = name;
	return false;
}

/* counted_outcome returns the outcome that is counted and told: what a limit blocks, and what is tagged, is that. */
static __always_inline __u8 counted_outcome(const struct packet *p)
{
	if (p->outcome == OUTCOME_PASS)
		return p->marks & MARK_TAGGED && p->flags & PACKET_CONNECTION ? OUTCOME_TAG : OUTCOME_PASS;
	if (!(p->marks & MARK_OVER))
		return p->outcome;
	return p->outcome == OUTCOME_DROP || p->outcome == OUTCOME_RESET ? OUTCOME_LIMIT : OUTCOME_WOULD_LIMIT;
}

/* count_decision counts a connection once: where its first payload is judged, or its SYN where that is blocked already.
 * What belongs to no connection and is blocked counts beside them. */
static __always_inline void count_decision(const struct packet *p, struct counter *counter, __u32 reason)
{
	__u32 outcome = p->outcome & (OUTCOMES - 1);
	if (outcome <= OUTCOME_TAG) {
		if ((p->flags & (PACKET_CONNECTION | PACKET_COUNTED)) == PACKET_CONNECTION)
			counter->connections[outcome & OUTCOME_TAG] += 1;
		return;
	}
	if (p->stage == STAGE_PACKET && !(p->flags & PACKET_CONNECTION)) {
		struct counter *alone = find_counter(p, COUNTER_ALONE, reason);
		if (alone)
			alone->connections[outcome] += 1;
	} else if (!is_repeated(p)) {
		counter->connections[outcome] += 1;
	}
}

/* count returns how often this CPU has counted such a packet. */
static __always_inline __u64 count(const struct packet *p, __u32 reason)
{
	struct counter *counter = find_counter(p, p->slot & (SLOTS - 1), reason);
	if (!counter)
		return 0;
	if (p->flags & (PACKET_EVENT | PACKET_CONNECTION))
		count_decision(p, counter, reason);
	return counter->packets[p->outcome & (OUTCOMES - 1)] += 1;
}

/* is_sampled thins out passes, and packets that are judged alone: the first of each kind, then one in mask + 1. */
static __always_inline bool is_sampled(const struct packet *p, __u64 counted)
{
	if (p->outcome > OUTCOME_TAG && p->stage != STAGE_PACKET)
		return true;
	return (counted & settings.event_sample_mask) == (1 & settings.event_sample_mask);
}

/* is_watched says whether somebody wants to see every decision. */
static __always_inline bool is_watched(const struct packet *p)
{
	struct runtime *rt = get_words();
	return rt && p->now_ns < rt->tell_until_ns;
}

static __always_inline struct event_budget *get_event_budget(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&event_budgets, &zero);
}

/* is_told_enough says whether nothing of what is decided now can become an event, and note_untold counts one that would have. */
static __always_inline bool is_told_enough(__u64 now_ns)
{
	struct event_budget *budget = get_event_budget();
	bool is_over = settings.events_per_second && budget && now_ns - budget->window_ns >= SECOND_NS;
	return budget && !is_over && budget->sent >= settings.events_per_second;
}

static __always_inline void note_untold(void)
{
	struct event_budget *budget = get_event_budget();
	if (budget)
		budget->lost += 1;
}

/* may_tell spends one event of this CPU's second, or counts a loss. */
static __always_inline bool may_tell(__u64 now_ns)
{
	struct event_budget *budget = get_event_budget();
	if (!budget)
		return false;
	if (now_ns - budget->window_ns >= SECOND_NS) {
		budget->window_ns = now_ns;
		budget->sent = 0;
	}
	if (budget->sent >= settings.events_per_second) {
		budget->lost += 1;
		return false;
	}
	budget->sent += 1;
	return true;
}

/* tell emits the event of one decision that may be told. A call costs 10 ns, so a flood that has spent its budget makes
 * none. */
__noinline int tell(struct packet *p)
{
	if (!p)
		return 0;
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		note_untold();
		return 0;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = p->now_ns;
	event->key = p->key;
	event->generation = p->generation;
	event->rule = p->rule;
	event->service = p->service;
	event->reason = p->reason;
	event->outcome = p->outcome;
	event->score = p->score;
	event->slot = p->slot;
	event->stage = p->stage;
	event->has_fingerprint = !!(p->flags & PACKET_HAS_FINGERPRINT);
	event->fingerprint = p->fingerprint;
	event->facts = p->facts;
	struct workspace *ws = get_workspace();
	if (ws && p->flags & PACKET_HAS_TLS) {
		event->has_tls = 1;
		event->tls = ws->tls;
	}
	bpf_ringbuf_submit(event, 0);
	return 0;
}

#endif
