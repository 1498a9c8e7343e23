/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* authority.h says which generation decides on a packet, and whose stored blocks hold.
 *
 *   stable tripped its budget ──▶ previous, for everybody
 *   else a candidate with authority:
 *     share 1000 ──▶ the candidate
 *     less       ──▶ the candidate for its share of what somebody vouches for; all else is stable's: what can be forged
 *                    is counted nowhere, so a generation on trial must not block it
 *   else ──▶ stable */
#ifndef SPILLWAY_AUTHORITY_H
#define SPILLWAY_AUTHORITY_H

#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "packet.h"
#include "slots.h"
#include "source.h"

#define CANARY_ALL 1000

static __always_inline struct generation *generation_in(__u32 slot)
{
	__u32 zero = 0;
	void *inner = bpf_map_lookup_elem(&generations, &slot);
	return inner ? bpf_map_lookup_elem(inner, &zero) : 0;
}

/* is_number_of says whether the generation in a slot has that number; the empty one has 0. */
__noinline int is_number_of(__u32 slot, __u32 number)
{
	struct generation *g = generation_in(slot);
	return g ? g->number == number : !number && slot == SLOT_EMPTY;
}

/* is_trip_of says whether a lane's trip is of a generation, or of the one that this was built from again. */
static __always_inline bool is_trip_of(__u64 trip, __u32 generation)
{
	return generation && ((__u32)trip == generation || trip >> 32 == generation);
}

/* is_spent says whether a generation used up its budget, in whichever lane. */
static __always_inline bool is_spent(const struct runtime *rt, __u32 generation)
{
	const volatile __u64 *trips = rt->tripped;
	return is_trip_of(trips[LANE_MAIN], generation) || is_trip_of(trips[LANE_FAST], generation);
}

/* trip notes that a generation used up its budget in a lane. It leaves alone what the other lane says, and what the agent
 * says of this trip. */
static __always_inline void trip(struct runtime *rt, __u32 lane, __u32 generation)
{
	__u64 *word = &rt->tripped[lane & (LANES - 1)], was = *(volatile __u64 *)word;
	if (!is_trip_of(was, generation))
		__sync_val_compare_and_swap(word, was, generation);
}

/* has_tripped says whether the stable generation used up its budget: while the control word has the budget. */
static __always_inline bool has_tripped(const struct packet *p, const struct runtime *rt)
{
	const volatile __u64 *trips = rt->tripped;
	if (!control_budget(p->control) || !(trips[LANE_MAIN] | trips[LANE_FAST]))
		return false;
	struct generation *g = generation_in(control_stable(p->control));
	return g && is_spent(rt, g->number);
}

static __always_inline bool may_candidate(const struct packet *p, const struct runtime *rt, __u32 generation)
{
	return p->now_ns < rt->lease_ns && rt->ended != generation && !is_spent(rt, generation);
}

/* The slot's own breaker or a dead agent end a candidate's authority at once; stable needs neither. */
static __always_inline bool may_enforce(const struct packet *p, const struct runtime *rt, __u32 slot, __u32 generation)
{
	if (has_tripped(p, rt))
		return slot == control_previous(p->control);
	if (slot == control_stable(p->control))
		return true;
	return slot == control_candidate(p->control) && may_candidate(p, rt, generation);
}

/* The sources whose hash falls below the share are the candidate's; a /24 or /48 goes as a whole, so that a visitor
 * with a new address keeps their side. */
static __always_inline bool in_canary(const struct packet *p, __u64 salt)
{
	return (hash_prefix(p, salt, salt) >> 32) % CANARY_ALL < control_canary(p->control);
}

/* A lease that lapsed ends its candidate for good. An agent that was stopped between its look at the lease and its store of
 * the next one stores a live lease when it goes on; the trip wins. A lease of 0 was taken back, and is nobody's lapse. */
static __always_inline void trip_lapsed(const struct packet *p, struct runtime *rt, __u32 generation)
{
	__u64 lease_ns = *(volatile __u64 *)&rt->lease_ns;
	if (lease_ns && p->now_ns >= lease_ns && rt->ended != generation)
		*(volatile __u64 *)&rt->ended = generation;
}

static __always_inline __u32 choose_slot(const struct packet *p, struct runtime *rt)
{
	__u32 candidate = control_candidate(p->control), share = control_canary(p->control);
	if (has_tripped(p, rt))
		return control_previous(p->control);
	if (candidate && share && (share >= CANARY_ALL || p->flags & PACKET_PROVEN)) {
		struct generation *g = generation_in(candidate);
		if (g && may_candidate(p, rt, g->number) && in_canary(p, g->salt))
			return candidate;
		if (g)
			trip_lapsed(p, rt, g->number);
	}
	return control_stable(p->control);
}

/* is_base says whether lanes compare another generation with this one, and this one with none: it bakes no more. */
static __always_inline bool is_base(__u32 generation)
{
	struct runtime *rt = get_words();
	bool is_old = false;
	for (__u32 i = 0; rt && i < LANES; i++) {
		const volatile struct lane *both = rt->lanes;
		__u64 numbers = both[i].numbers;
		if (numbers >> 32 == generation)
			return false;
		is_old |= numbers >> 32 && (__u32)numbers == generation;
	}
	return is_old;
}

/* is_on_trial says whether a block of the slot may be one that is compared with another generation's verdict: a candidate's,
 * or that of a stable generation that bakes under a budget. The budget of the control word may be a canary's alone: what that is
 * compared with is not on trial. */
static __always_inline bool is_on_trial(const struct packet *p)
{
	if (!control_pair(p->control))
		return false;
	if (p->slot != control_stable(p->control))
		return p->slot && p->slot == control_candidate(p->control);
	return control_budget(p->control) && !is_base(p->generation);
}

#endif
