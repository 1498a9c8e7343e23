/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* place.h finds the place of a connection among the hellos that are not whole yet, and locks it.
 *
 *   keyed hash of addresses, ports and ISN ──┬─▶ set of eight ──┐     the place with this owner; else a free one of the set that
 *                                            └─▶ set of eight ──┴──▶  has more; else the one that nothing came to for longest
 *
 * Two sets for each connection: a place is lost only when all sixteen are taken by others, and to each of them something came
 * later. While a share x of all places was taken since, that is x to the power of sixteen: next to never up to two thirds.
 * Sets are small and lie apart from the bytes, so looking for a place reads two cache lines. A second half whose first one is
 * lost takes no place, for it would never be whole, and cost another's.
 *
 * What is not proven has the upper half, so that forged hellos take no place from true ones; a hello whose first part came
 * before there was a socket, behind a SYN cookie, stays there. The sets are a hint that two processors may write at once; who
 * a place belongs to is said in it, under its lock. */
#ifndef SPILLWAY_PLACE_H
#define SPILLWAY_PLACE_H

#include <bpf/bpf_helpers.h>

#include "hash.h"
#include "maps.h"
#include "packet.h"
#include "settings.h"

/* A lock that old has no owner any more. */
#define LOCK_STALE_NS SECOND_NS
/* How often a lock is asked for. Its holder reads a hello meanwhile, in a microsecond mostly. */
#define LOCK_TRIES 256
#define NO_PLACE 0x7fffffff
/* Of a way: after 18 minutes something old looks young again, and stays a little longer. */
#define USED_BITS 24
/* 2^16 ns. The coarse clock stands still for up to 10 ms, in which many come. */
#define USED_UNIT 16
#define USED_MASK ((1ULL << USED_BITS) - 1)
#define AGE_FREE (1U << USED_BITS)

struct place_choice {
	__u64 owner;
	__u32 now;
	__u32 best;     /* index of the place that may be taken */
	__u32 best_age; /* since something came to it */
	__u32 free;     /* places of its set */
	__u32 found;
};

/* The data of a SYN has a place of its own. Only a socket that has taken data in has taken that, and only where nothing else of
 * the connection is held (RFC 7413); every other server ignores it, and its client sends all of it again. */
#define OWNER_SYN (1ULL << 62)
/* No owner is 0 in the bits that a way has of it. Those below them choose the sets. */
#define OWNER_ANY (1ULL << 63)
#define SET_BITS 12

static __always_inline __u64 name_hello(const struct packet *p, const struct runtime *rt, __u32 isn)
{
	__u64 name = hash_flow_key(&p->key, rt->seed[1], rt->seed[0]) + isn * 0x9e3779b97f4a7c15ULL;
	return (name & ~OWNER_SYN) | OWNER_ANY | (is_syn(p) ? OWNER_SYN : 0);
}

static __always_inline bool is_of_owner(__u64 way, __u64 owner)
{
	return !((way ^ owner) >> USED_BITS);
}

/* look_in looks for the owner in a set, and for the place that it could have there. */
static __always_inline void look_in(struct place_choice *c, __u32 index)
{
	struct hello_set *set = bpf_map_lookup_elem(&hello_sets, &index);
	if (!set)
		return;
	__u32 best = 0, best_age = 0, free = 0;
	for (__u32 i = 0; i < HELLO_WAYS; i++) {
		__u64 way = set->ways[i];
		__u32 age = way ? (c->now - way) & USED_MASK : AGE_FREE;
		free += !way;
		if (is_of_owner(way, c->owner))
			c->found = index * HELLO_WAYS + i;
		if (age > best_age) {
			best_age = age;
			best = i;
		}
	}
	/* The set with more room: so both are full for next to nobody, while half of the places are free. */
	if (c->best == NO_PLACE || free > c->free || (!free && !c->free && best_age > c->best_age)) {
		c->best = index * HELLO_WAYS + best;
		c->best_age = best_age;
		c->free = free;
	}
}

/* look_for looks in both sets of a half: 0, or 1 for what is not proven. */
__noinline int look_for(struct place_choice *c, __u32 half)
{
	if (!c)
		return 0;
	__u32 mask = settings.hello_mask / (2 * HELLO_WAYS), upper = half ? mask + 1 : 0;
	__u32 first = c->owner & mask, second = c->owner >> SET_BITS & mask;
	second ^= second == first ? mask & 1 : 0;
	look_in(c, first | upper);
	if (c->found == NO_PLACE)
		look_in(c, second | upper);
	return 0;
}

static __always_inline __u64 *way_of(__u32 place)
{
	__u32 index = place / HELLO_WAYS;
	struct hello_set *set = bpf_map_lookup_elem(&hello_sets, &index);
	return set ? &set->ways[place & (HELLO_WAYS - 1)] : 0;
}

static __always_inline void unlock_hello(struct workspace *ws)
{
	if (!ws->is_locked)
		return;
	struct hello *h = bpf_map_lookup_elem(&hellos, &ws->hello_index);
	if (h)
		__sync_val_compare_and_swap(&h->lock_ns, ws->lock_ns, 0); /* unless it went to another */
	ws->is_locked = 0;
}

/* free_hello gives the place back that is locked. */
static __always_inline void free_hello(struct workspace *ws)
{
	if (!ws->is_locked)
		return;
	struct hello *h = bpf_map_lookup_elem(&hellos, &ws->hello_index);
	__u64 *way = way_of(ws->hello_index);
	if (h && reload(h->lock_ns) == ws->lock_ns) {
		if (way && is_of_owner(*way, h->owner))
			*way = 0;
		h->owner = 0;
	}
	unlock_hello(ws);
}

/* take_lock asks once for the lock of a place. */
static __always_inline bool take_lock(struct workspace *ws, struct hello *h)
{
	__u64 now_ns = reload(ws->lock_ns), taken_ns = reload(h->lock_ns);
	if (taken_ns && (__s64)(now_ns - taken_ns) < (__s64)LOCK_STALE_NS) /* another's clock may be ahead */
		return false;
	ws->is_locked = __sync_val_compare_and_swap(&h->lock_ns, taken_ns, now_ns) == taken_ns;
	return reload(ws->is_locked);
}

/* wait_round asks once more; 1 ends it. */
static long wait_round(__u32 round, void *nothing)
{
	struct workspace *ws = get_workspace();
	struct hello *h = ws ? bpf_map_lookup_elem(&hellos, &ws->hello_index) : 0;
	return !h || take_lock(ws, h);
}

/* lock_place waits a little for a place that another processor has. */
__noinline int lock_place(__u32 place)
{
	struct workspace *ws = get_workspace();
	if (!ws)
		return 0;
	ws->hello_index = place;
	/* A microsecond is enough of a clock; below it stands whose the lock is, for a tick is milliseconds long. */
	reload(ws->lock_ns) = clock_ns() | 1023;
	reload(ws->lock_ns) ^= bpf_get_smp_processor_id() & 1023;
	struct hello *h = bpf_map_lookup_elem(&hellos, &ws->hello_index); /* by a key that takes no stack */
	if (!h)
		return 0;
	if (!take_lock(ws, h))
		bpf_loop(LOCK_TRIES, wait_round, 0, 0);
	return reload(ws->is_locked);
}

/* begin_hello makes the locked place that of a connection. */
static __always_inline void begin_hello(struct packet *p, struct hello *h, __u64 owner)
{
	h->owner = owner;
	h->len = h->far_to = h->urgent = h->fin = 0;
	h->flat_from = h->flat_to = h->flat_left = h->flat_records = 0;
	p->flags |= PACKET_NEW_PLACE;
}

/* find_place returns the place of p's connection, NO_PLACE for none. */
__noinline int find_place(struct packet *p, __u32 isn)
{
	struct runtime *rt = get_words();
	if (!p || !rt)
		return NO_PLACE;
	struct place_choice c = { .owner = name_hello(p, rt, isn), .best = NO_PLACE, .found = NO_PLACE };
	look_for(&c, !(p->flags & PACKET_PROVEN));
	if (c.found == NO_PLACE)
		look_for(&c, p->flags & PACKET_PROVEN ? 1 : 0);
	return c.found;
}

/* lock_hello locks the place of p's connection, and takes one where it has none. It returns why there is none. */
__noinline int lock_hello(struct packet *p, __u32 isn, __u32 is_start)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	if (!p || !ws || !rt)
		return REASON_INTERNAL;
	struct place_choice c = {
		.owner = name_hello(p, rt, isn),
		.now = bpf_ktime_get_ns() >> USED_UNIT,
		.best = NO_PLACE,
		.found = NO_PLACE,
	};
	__u32 is_forgeable = !(p->flags & PACKET_PROVEN);
	look_for(&c, is_forgeable);
	if (c.found == NO_PLACE && !is_forgeable) {
		struct place_choice other = c;
		look_for(&other, 1);
		if (other.found == NO_PLACE && p->flags & PACKET_NOT_FIRST) {
			other.owner |= OWNER_SYN;
			look_for(&other, 1);
		}
		c.found = other.found;
	}
	if (c.found == NO_PLACE && !is_start && p->flags & PACKET_NOT_FIRST)
		return REASON_MIDSTREAM;
	if (c.found == NO_PLACE && !is_start && p->flags & PACKET_WAS_HELD && p->held)
		return REASON_HELLO_BUSY;
	__u32 place = c.found != NO_PLACE ? c.found : c.best;
	if (!lock_place(place))
		return REASON_HELLO_BUSY;
	struct hello *h = bpf_map_lookup_elem(&hellos, &place);
	__u64 *way = way_of(place);
	if (!h || !way)
		return REASON_INTERNAL;
	*way = (c.owner & ~USED_MASK) | (c.now & USED_MASK);
	if (c.found != NO_PLACE && h->owner == (c.owner | OWNER_SYN))
		h->owner = c.owner;
	if (h->owner != c.owner)
		begin_hello(p, h, c.owner);
	return REASON_CONTINUE;
}

#endif
