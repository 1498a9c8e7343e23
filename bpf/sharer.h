/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* sharer.h says which addresses many people share: those that show many kinds of clients which a catalogue knows, in ClientHellos of
 * connections that somebody vouches for. Who makes hellos up shows no kind; who imitates many clients gets the larger rate of a shared
 * address, and no more.
 *
 *   a way   63    48 47    40 39      20 19         0
 *          +--------+--------+----------+------------+
 *          |  name  | period |   now    |   before   |      a bit each kind of client; a period is half a day, of 256
 *          +--------+--------+----------+------------+
 */
#ifndef SPILLWAY_SHARER_H
#define SPILLWAY_SHARER_H

#include <bpf/bpf_helpers.h>

#include "hash.h"
#include "maps.h"

#define SHARER_PERIOD (12 * 3600 * SECOND_NS)
#define SHARER_KINDS 20
#define SHARER_MASK ((1ULL << SHARER_KINDS) - 1)
/* Kinds of clients that an address of many people shows in a day. A household has three or four. */
#define SHARED_FROM 6

static __always_inline __u32 count_kinds(__u32 x)
{
	x -= x >> 1 & 0x55555555;
	x = (x & 0x33333333) + (x >> 2 & 0x33333333);
	return ((x + (x >> 4)) & 0x0f0f0f0f) * 0x01010101 >> 24;
}

/* kinds_in returns which kinds a way shows in a period and the one before; 0: its time is over. */
static __always_inline __u64 kinds_in(__u64 way, __u32 period)
{
	__u32 age = (period - (way >> 2 * SHARER_KINDS)) & 0xff;
	__u64 now = way >> SHARER_KINDS & SHARER_MASK, before = way & SHARER_MASK;
	return age == 0 ? now << SHARER_KINDS | before : age == 1 ? now : 0;
}

/* find_sharer returns the way of an address in its set, else that of the one with the fewest kinds, and leaves in the workspace what lies
 * there, and the kinds of the address. What a round finds lies in memory: to the verifier all rounds are then alike. */
__noinline int find_sharer(__u64 hash, __u32 period)
{
	struct workspace *ws = get_workspace();
	__u32 index = hash & (SHARER_SETS - 1);
	struct limit_set *set = bpf_map_lookup_elem(&sharers, &index);
	if (!ws || !set)
		return LIMIT_WAYS;
	volatile struct finding *f = &ws->finding;
	f->least = ~0ULL;
	f->at = LIMIT_WAYS;
	for (__u32 i = 0; i < LIMIT_WAYS; i++) {
		__u64 way = *(volatile __u64 *)&set->ways[i], kinds = kinds_in(way, period);
		__u64 count = count_kinds((kinds | kinds >> SHARER_KINDS) & SHARER_MASK);
		if (count && way >> 48 == hash >> 48) {
			f->way = way;
			f->kinds = kinds;
			return i;
		}
		if (count < f->least) {
			f->least = count;
			f->at = i;
			f->way = way;
		}
	}
	f->kinds = 0;
	return f->at;
}

/* note_kind adds a kind of client to those of an address, 0 for none, and returns how many these are. hash is of the address. */
__noinline int note_kind(__u64 hash, __u32 kind, __u32 period)
{
	__u32 index = hash & (SHARER_SETS - 1), at = find_sharer(hash, period);
	struct workspace *ws = get_workspace();
	struct limit_set *set = bpf_map_lookup_elem(&sharers, &index);
	if (!ws || !set || at >= LIMIT_WAYS)
		return 0;
	bounded(at);
	__u64 was = ws->finding.way, kinds = ws->finding.kinds, before = kinds & SHARER_MASK,
	      now = kinds >> SHARER_KINDS & SHARER_MASK;
	if (kind)
		now |= 1ULL << (kind - 1) % SHARER_KINDS;
	__u64 next = (hash >> 48 << 48) | (__u64)(period & 0xff) << 2 * SHARER_KINDS | now << SHARER_KINDS | before;
	/* Of two at once one is noted; it comes again. */
	if (now && next != was)
		__sync_val_compare_and_swap(&set->ways[at & (LIMIT_WAYS - 1)], was, next);
	return count_kinds(now | before);
}

#endif
