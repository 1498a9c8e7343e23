/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* budget.h bounds what strangers can make a processor do in a second. */
#ifndef SPILLWAY_BUDGET_H
#define SPILLWAY_BUDGET_H

#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "packet.h"
#include "settings.h"
#include "source.h"

/* spend takes one from a budget of the running second. Two processors may both take the last one. */
static __always_inline bool spend(struct shape_budget *b, __u32 second, __u32 most)
{
	if (b->second != second) {
		b->second = second;
		b->spent = 0;
	}
	if (b->spent >= most)
		return false;
	b->spent += 1;
	return true;
}

static __always_inline __u32 second_of(struct packet *p)
{
	if (!p->now_ns)
		p->now_ns = clock_ns();
	return p->now_ns / SECOND_NS + 1;
}

/* may_work says whether p is worth more than a microsecond. What no socket vouches for costs its sender nothing: at 200 a
 * second and processor even 25 µs are half a percent of it, however many come. */
static __always_inline bool may_work(struct packet *p, struct workspace *ws)
{
	return p->flags & PACKET_PROVEN || spend(&ws->budgets[1], second_of(p), settings.unproven_per_second);
}

/* What of a hello that no socket vouches for is read for nothing: so many cipher suites, algorithms and versions, where an extension
 * counts as two. Clients of 2026 have 60 to 90; 450 cost two microseconds. */
#define VALUES_FREE 100
#define VALUES_ALL (1U << 30)

/* may_compute says whether a new shape of p's source prefix is still within both budgets: of the prefix, so that one
 * flood leaves something to the others, and of this processor. What no socket vouches for has budgets of its own. */
__noinline int may_compute(struct packet *p)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	if (!p || !ws || !rt)
		return 0;
	__u32 is_forgeable = !(p->flags & PACKET_PROVEN);
	__u32 index = hash_prefix(p, rt->seed[1] ^ is_forgeable, rt->seed[0]) & settings.shape_budget_mask;
	struct shape_budget *b = bpf_map_lookup_elem(&shape_budgets, &index);
	if (b && !spend(b, second_of(p), settings.shapes_per_prefix))
		return 0;
	return is_forgeable ? may_work(p, ws) : spend(&ws->budgets[0], second_of(p), settings.shapes_per_second);
}

#endif
