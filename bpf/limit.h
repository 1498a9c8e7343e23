/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* limit.h admits connections by a rate: the generic cell rate algorithm (ITU-T I.371, appendix; virtual scheduling).
 *
 * A key has one number, when its next connection comes by its rate: `next`. A connection now
 *
 *   next - now > (burst - 1) * interval ──▶ is over, and changes nothing
 *   else                                ──▶ is within, and next = max(next, now) + interval
 *
 * So of any time of length t a key gets at most burst + t / interval connections, whatever the clocks of processors say: each that is
 * within moves next by an interval, and none is within that finds it too far ahead. In a set with other keys an interval is shorter by
 * what these clocks differ, some milliseconds: a key at rest by one of them may lose its way.
 *
 *   keyed hash of limit and source ──▶ set of eight ──▶ the way that has its name; else a free one; else the one that is nearest to rest
 *
 *   a way   63    48 47        0
 *          +--------+-----------+
 *          |  name  |   next    |      in units of 1,024 ns, modulo 2^48 (nine years)
 *          +--------+-----------+
 *
 * A key whose next is over is at rest: it has all of its rate, as one that never came, so its way is free. Swaps are by
 * compare-and-swap, at most LIMIT_TRIES; a connection that loses them all passes, and is counted (lost). Of two processors that bring
 * a new key at once one sees the other's, for each looks again once it wrote, and takes its own back. */
#ifndef SPILLWAY_LIMIT_H
#define SPILLWAY_LIMIT_H

#include <bpf/bpf_helpers.h>

#include "hash.h"
#include "maps.h"

#define LIMIT_TRIES 8
#define LIMIT_NAME 48
#define LIMIT_MASK ((1ULL << LIMIT_NAME) - 1)
/* No key is ahead by more: the bundle's validator keeps burst times interval below a day. */
#define LIMIT_AHEAD (1ULL << 38)
#define LIMIT_UNIT 10 /* bits of a nanosecond's number */

/* name_of returns the name of a key. None is 0, so no way of a key is: by its number alone it would look like a free one, at the one
 * moment of nine years. */
static __always_inline __u64 name_of(__u64 hash)
{
	__u64 name = hash & ~LIMIT_MASK;
	return name ? name : 1ULL << LIMIT_NAME;
}

/* ahead_of returns how far the next connection of a way is ahead; 0: it is at rest. */
static __always_inline __u64 ahead_of(__u64 way, __u64 now)
{
	__u64 ahead = (way - now) & LIMIT_MASK;
	return way && ahead < LIMIT_AHEAD ? ahead : 0; /* the clock comes by 0 */
}

static __always_inline struct limit_count *limit_count(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&limit_counts, &zero);
}

/* find_key returns the way of a key, and leaves what lies there in the workspace. Where no way
 * is free it is the one that is nearest to rest. */
__noinline int find_key(void)
{
	struct workspace *ws = get_workspace();
	if (!ws)
		return LIMIT_WAYS;
	struct limit *l = &ws->limit;
	__u32 index = l->set;
	struct limit_set *set = bpf_map_lookup_elem(&limits, &index);
	if (!set)
		return LIMIT_WAYS;
	volatile struct finding *f = &ws->finding;
	f->least = ~0ULL;
	f->at = LIMIT_WAYS;
	for (__u32 i = 0; i < LIMIT_WAYS; i++) {
		__u64 way = *(volatile __u64 *)&set->ways[i], ahead = ahead_of(way, l->now);
		if (ahead && way >> LIMIT_NAME == l->name >> LIMIT_NAME) {
			f->way = way;
			return i;
		}
		if (ahead < f->least) {
			f->least = ahead;
			f->at = i;
			f->way = way;
		}
	}
	return f->at;
}

/* is_twice says whether a key that was just written to a way lies in another one, too. */
__noinline int is_twice(__u32 at)
{
	struct workspace *ws = get_workspace();
	if (!ws)
		return 0;
	const struct limit *l = &ws->limit;
	__u32 index = l->set, times = 0;
	struct limit_set *set = bpf_map_lookup_elem(&limits, &index);
	for (__u32 i = 0; set && i < LIMIT_WAYS; i++) {
		__u64 way = *(const volatile __u64 *)&set->ways[i];
		times += i != at && ahead_of(way, l->now) && way >> LIMIT_NAME == l->name >> LIMIT_NAME;
	}
	return times;
}

/* admit charges the key in the workspace with one connection, and returns whether that is over its limit. */
__noinline int admit(void)
{
	struct workspace *ws = get_workspace();
	struct limit_count *n = limit_count();
	if (!ws || !n)
		return 0;
	struct limit *l = &ws->limit;
	__u32 index = l->set;
	__u64 tolerance = (l->burst - 1) * l->interval;
	struct limit_set *set = bpf_map_lookup_elem(&limits, &index);
	for (int i = 0; set && i < LIMIT_TRIES; i++) {
		__u32 at = find_key();
		if (at >= LIMIT_WAYS)
			return 0;
		__u64 seen = *(volatile __u64 *)&ws->finding.way, there = ahead_of(seen, l->now);
		bool is_known = there && seen >> LIMIT_NAME == l->name >> LIMIT_NAME;
		__u64 ahead = is_known ? there : 0;
		if (ahead > tolerance) {
			l->wait = ahead - tolerance;
			return 1;
		}
		__u64 next = l->name | ((l->now + ahead + l->interval) & LIMIT_MASK);
		bounded(at);
		__u64 *way = &set->ways[at & (LIMIT_WAYS - 1)];
		if (__sync_val_compare_and_swap(way, seen, next) != seen)
			continue;
		if (is_known)
			return 0;
		if (is_twice(at)) {
			if (__sync_val_compare_and_swap(way, next, seen) == next)
				continue;
			n->evicted += there != 0;
			break; /* somebody charged it meanwhile: it has two numbers, until both are over */
		}
		n->evicted += there != 0;
		return 0;
	}
	n->lost += 1;
	return 0;
}

#endif
