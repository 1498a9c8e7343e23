/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* charge.h holds a generation to its budget: extra blocks that rest on nothing declared, one a source prefix and window.
 *
 *   not marked in this window ──▶ mark ──▶ one more by compare-and-swap ──┬─ within: charged ──▶ the block holds
 *   marked as charged ────────────────────────────────────────────────────┘
 *   marked, and another processor is about to charge it ──▶ passes
 *   no room for a mark, or no luck with the swap ─────────▶ passes: what could not be counted is not blocked
 *   beyond max(20, 0.1 % of the window's connections, and what was allowed of them) ──▶ the generation trips, and passes
 *
 * Processors share one word, so together they never charge one prefix more than the budget. A connection's block is stored before it is
 * charged: a second packet of it on another processor may be dropped in the moment before that passes after all. It comes again. */
#ifndef SPILLWAY_CHARGE_H
#define SPILLWAY_CHARGE_H

#include <bpf/bpf_helpers.h>

#include "authority.h"
#include "hash.h"
#include "maps.h"
#include "packet.h"
#include "settings.h"
#include "source.h"
#include "votes.h"

#define CHARGE_TRIES 64
/* Of a mark: its prefix was counted. */
#define MARK_CHARGED (1ULL << 16)
/* What mark_prefix says beside 0. */
#define MARK_FULL (-1)
#define MARK_PENDING (-2)

/* window_of returns the number of a window; 0 is none's. */
static __always_inline __u32 window_of(__u64 now_ns)
{
	return now_ns / SECOND_NS / settings.budget_seconds + 1;
}

/* mark_of_window returns what marks have of a window: neighbours differ, and 0 is that of a place where none lies. */
static __always_inline __u16 mark_of_window(__u32 window)
{
	return window % 0xffff + 1;
}

/* note_traffic counts a connection in its window. */
static __always_inline void note_traffic(const struct packet *p, struct trial *t)
{
	__u32 window = window_of(p->now_ns);
	__u64 *word = &t->traffic[window & 1];
	for (int i = 0; i < SWAP_TRIES; i++) {
		__u64 was = *(volatile __u64 *)word;
		if (was >> 32 == window) {
			__sync_fetch_and_add(word, 1);
			return;
		}
		if (__sync_val_compare_and_swap(word, was, pair64(1, window)) == was)
			return;
	}
}

/* most_of returns how many extra blocks a window has: a share of its connections so far, or of the last one's, which may be
 * more. allowed is what a person accepted by any rule, of BUDGET_SHARE. */
static __always_inline __u32 most_of(const struct trial *t, __u32 window, __u32 allowed)
{
	__u64 last = *(volatile const __u64 *)&t->traffic[~window & 1];
	__u64 now = *(volatile const __u64 *)&t->traffic[window & 1];
	__u64 connections = last >> 32 == window - 1 ? (__u32)last : 0;
	if (now >> 32 == window && (__u32)now > connections)
		connections = (__u32)now;
	__u64 share = connections * (1 + allowed) / BUDGET_SHARE;
	return share > BUDGET_LEAST ? share : BUDGET_LEAST;
}

/* allowed_of returns what a person accepted in a lane by any rule, of BUDGET_SHARE. */
static __always_inline __u32 allowed_of(const struct runtime *rt, __u32 lane)
{
	return *(const volatile __u64 *)&rt->lanes[lane & (LANES - 1)].where >> LANE_ALLOWED & 0xffff;
}

/* find_mark returns where a mark lies in its set, else the first place of another window; VOTE_WAYS where all are taken. What lies
 * there is left in the workspace. */
__noinline int find_mark(__u32 index, __u64 mark)
{
	struct workspace *ws = get_workspace();
	struct vote_set *set = bpf_map_lookup_elem(&marks, &index);
	__u32 found = VOTE_WAYS;
	if (!ws || !set)
		return VOTE_WAYS;
	for (__u32 i = 0; i < VOTE_WAYS; i++) {
		__u64 there = *(volatile __u64 *)&set->ways[i];
		if ((there & ~MARK_CHARGED) == mark) {
			ws->seen = there;
			return i;
		}
		if (found == VOTE_WAYS && (__u16)there != (__u16)mark) {
			found = i;
			ws->seen = there;
		}
	}
	return found;
}

/* mark_prefix marks the packet's prefix. It returns 1 when it was charged in this window before, 0 when this call marked it,
 * MARK_PENDING when another processor did and has not counted it yet, and MARK_FULL where there is no room. */
__noinline int mark_prefix(__u32 index, __u64 mark)
{
	struct workspace *ws = get_workspace();
	struct vote_set *set = bpf_map_lookup_elem(&marks, &index);
	for (int i = 0; ws && set && i < SWAP_TRIES; i++) {
		__u32 at = find_mark(index, mark);
		if (at >= VOTE_WAYS)
			return MARK_FULL;
		if ((ws->seen & ~MARK_CHARGED) == mark)
			return ws->seen & MARK_CHARGED ? 1 : MARK_PENDING;
		if (__sync_val_compare_and_swap(&set->ways[at & (VOTE_WAYS - 1)], ws->seen, mark) == ws->seen)
			return 0;
	}
	return MARK_FULL;
}

/* settle_mark makes of a mark what became of its charge: it is counted, or taken back. */
__noinline int settle_mark(__u32 index, __u64 mark, __u64 next)
{
	struct workspace *ws = get_workspace();
	struct vote_set *set = bpf_map_lookup_elem(&marks, &index);
	__u32 at = find_mark(index, mark);
	if (ws && set && at < VOTE_WAYS && ws->seen == mark)
		__sync_val_compare_and_swap(&set->ways[at & (VOTE_WAYS - 1)], mark, next);
	return 0;
}

/* charge says whether an extra block of the packet at work shall pass after all. */
__noinline int charge(__u32 lane, __u32 generation)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	struct trial *t = bpf_map_lookup_elem(&trials, &lane);
	if (!ws || !rt || !t || lane >= LANES)
		return 1;
	const struct packet *p = &ws->packet;
	__u32 window = window_of(p->now_ns), most = most_of(t, window, allowed_of(rt, lane));
	__u64 hash = hash_prefix(p, rt->seed[1] ^ generation, rt->seed[0]);
	__u64 mark = (hash & ~0x1ffffULL) | mark_of_window(window);
	__u32 index = hash & (MARK_SETS - 1);
	int marked = mark_prefix(index, mark);
	for (int i = 0; !marked && i < CHARGE_TRIES; i++) {
		__u64 was = *(volatile __u64 *)&t->charged;
		__u32 count = was >> 32 == window ? (__u32)was : 0;
		if (count >= most) {
			trip(rt, lane, generation);
			return 1;
		}
		if (__sync_val_compare_and_swap(&t->charged, was, pair64(count + 1, window)) == was) {
			settle_mark(index, mark, mark | MARK_CHARGED);
			marked = 1;
		}
	}
	if (marked > 0)
		return is_spent(rt, generation);
	if (!marked)
		settle_mark(index, mark, 0);
	if (marked != MARK_PENDING)
		note_lost(lane);
	return 1;
}

#endif
