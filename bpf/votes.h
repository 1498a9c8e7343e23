/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* votes.h counts source prefixes (/24, /48) once: each votes with its strongest pair of verdicts, once a run and day.
 *
 *   keyed hash of prefix and kind ──▶ set of eight ──▶ the way that has its name; else a free one; else nothing is counted
 *
 *   a way   63      42 41  40 39    24 23    9 8      0
 *          +----------+------+--------+-------+--------+
 *          |   tag    | kind |  run   |  day  | state  |      kind: a vote of a lane, or the arm of the main one
 *          +----------+------+--------+-------+--------+      state of a vote: pair, and its service above
 *
 * A way is free when it is empty, or its run or day is over. Names are written by compare-and-swap, and everybody takes
 * the first free way, so of two processors with the same prefix one sees the other. Nothing is ever evicted: who is
 * counted stays counted, and a flood of prefixes only has others not counted, which is counted (lost). */
#ifndef SPILLWAY_VOTES_H
#define SPILLWAY_VOTES_H

#include <bpf/bpf_helpers.h>

#include "hash.h"
#include "maps.h"
#include "packet.h"
#include "settings.h"
#include "source.h"

#define WAY_TAG_MASK (~0ULL << 42)
#define WAY_KIND 40
#define WAY_RUN 24
#define WAY_DAY 9
#define WAY_DAYS 0x7fff
#define WAY_STATE 0x1ffULL
#define VOTE_PAIR 7 /* of the state */
#define VOTE_SERVICE 3
#define KIND_ARM LANES
/* Tries of a compare-and-swap that others may win. */
#define SWAP_TRIES 16

static __always_inline struct lane_count *counts_of(__u32 lane)
{
	return bpf_map_lookup_elem(&lane_counts, &lane);
}

static __always_inline void note_lost(__u32 lane)
{
	struct lane_count *n = counts_of(lane);
	if (n)
		n->lost += 1;
}

static __always_inline __u32 day_of(__u64 now_ns)
{
	return now_ns / SECOND_NS / settings.vote_seconds & WAY_DAYS;
}

static __always_inline bool is_over_way(const struct comparison *c, __u64 way)
{
	__u32 kind = way >> WAY_KIND & 3, run = way >> WAY_RUN & 0xffff;
	if (run != c->runs[kind == LANE_FAST ? LANE_FAST : LANE_MAIN])
		return true;
	return kind != KIND_ARM && (way >> WAY_DAY & WAY_DAYS) != c->day;
}

static __always_inline bool is_named(__u64 way, __u64 name)
{
	return !((way ^ name) & ~WAY_STATE);
}

/* name_way returns the name of p's prefix in a kind of way, and leaves its set. */
static __always_inline __u64 name_way(const struct packet *p, const struct runtime *rt, const struct comparison *c,
				      __u32 kind, __u32 *index)
{
	__u64 hash = hash_prefix(p, rt->seed[0] ^ 0x766f7465 ^ (__u64)kind << 32, rt->seed[1]);
	*index = hash & (VOTE_SETS - 1);
	__u32 run = c->runs[kind == LANE_FAST ? LANE_FAST : LANE_MAIN], day = kind == KIND_ARM ? 0 : c->day;
	return (hash & WAY_TAG_MASK) | (__u64)kind << WAY_KIND | (__u64)run << WAY_RUN | (__u64)day << WAY_DAY;
}

/* find_way returns the way of a name in its set, else the first free one; VOTE_WAYS where all are taken. What lies there is left
 * in the workspace. */
__noinline int find_way(__u32 index, __u64 name)
{
	struct workspace *ws = get_workspace();
	struct vote_set *set = bpf_map_lookup_elem(&votes, &index);
	__u32 found = VOTE_WAYS;
	if (!ws || !set)
		return VOTE_WAYS;
	for (__u32 i = 0; i < VOTE_WAYS; i++) {
		__u64 way = *(volatile __u64 *)&set->ways[i];
		if (is_named(way, name)) {
			ws->seen = way;
			return i;
		}
		if (found == VOTE_WAYS && (!way || is_over_way(&ws->comparison, way))) {
			found = i;
			ws->seen = way;
		}
	}
	return found;
}

/* note_state has the way of the packet's prefix hold a state: for an arm `more` is what it gains, for a vote what takes the place of
 * a weaker one. It returns the state from before, 0 for none, negative where nothing changed or there was no room. */
__noinline int note_state(__u32 kind, __u32 more)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	if (!ws || !rt)
		return -1;
	__u32 index;
	__u64 name = name_way(&ws->packet, rt, &ws->comparison, kind, &index);
	struct vote_set *set = bpf_map_lookup_elem(&votes, &index);
	for (int i = 0; set && i < SWAP_TRIES; i++) {
		__u32 at = find_way(index, name), state = 0, next = more;
		if (at >= VOTE_WAYS)
			break;
		bool is_known = is_named(ws->seen, name);
		if (is_known)
			state = ws->seen & WAY_STATE;
		if (kind == KIND_ARM)
			next |= state;
		else if ((state & VOTE_PAIR) >= (more & VOTE_PAIR))
			return -1;
		if (is_known && next == state)
			return -1;
		if (__sync_val_compare_and_swap(&set->ways[at & (VOTE_WAYS - 1)], ws->seen, name | next) == ws->seen)
			return state;
	}
	note_lost(ws->comparison.lane);
	return -1;
}

/* state_of returns what is known of the packet's prefix, 0 for nothing. */
__noinline int state_of(__u32 kind)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	if (!ws || !rt)
		return 0;
	__u32 index;
	__u64 name = name_way(&ws->packet, rt, &ws->comparison, kind, &index);
	return find_way(index, name) < VOTE_WAYS && is_named(ws->seen, name) ? ws->seen & WAY_STATE : 0;
}

/* add_votes adds to a cell. */
static __always_inline void add_votes(const struct pair_key *key, __s64 votes_more)
{
	__s64 zero = 0, *cell = bpf_map_lookup_elem(&pairs, key);
	if (!cell) {
		bpf_map_update_elem(&pairs, key, &zero, BPF_NOEXIST);
		cell = bpf_map_lookup_elem(&pairs, key);
	}
	if (cell)
		__sync_fetch_and_add(cell, votes_more);
	else
		note_lost(key->lane);
}

static __always_inline void add_blame(__u32 lane, __u32 generation, __u32 rule)
{
	struct blame_key key = { .generation = generation, .rule = rule, .lane = lane };
	__s64 zero = 0, *cell = bpf_map_lookup_elem(&blame, &key);
	if (!cell) {
		bpf_map_update_elem(&blame, &key, &zero, BPF_NOEXIST);
		cell = bpf_map_lookup_elem(&blame, &key);
	}
	if (cell)
		__sync_fetch_and_add(cell, 1);
	else
		note_lost(lane);
}

/* vote counts the pair that p's prefix showed, and takes a weaker one back that it showed before. The new cell grows before the
 * old one shrinks; whoever reads them knows by moving and moved that a vote was on its way. It returns whether the pair is
 * the prefix's first of its kind. */
__noinline int vote(struct pair_key *key)
{
	struct trial *t;
	if (!key)
		return 0;
	__u32 lane = key->lane;
	int was = note_state(lane, key->pair | (__u32)key->service << VOTE_SERVICE);
	if (was < 0 || !(t = bpf_map_lookup_elem(&trials, &lane)))
		return 0;
	struct pair_key new = *key;
	if (!was) {
		add_votes(&new, 1);
		return 1;
	}
	struct pair_key old = { .generation = key->generation,
				.rule = RULE_NONE,
				.lane = key->lane,
				.service = was >> VOTE_SERVICE & 63,
				.pair = was & VOTE_PAIR };
	__sync_fetch_and_add(&t->moving, 1);
	add_votes(&new, 1);
	add_votes(&old, -1);
	__sync_fetch_and_add(&t->moved, 1);
	return 1;
}

#endif
