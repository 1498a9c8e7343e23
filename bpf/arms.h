/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* arms.h counts the source prefixes of a canary and the others, each once a run: as a source, and as one that fails.
 *
 * A prefix of which the new generation newly blocks something declared is no source of either arm, from then on: its owner
 * sees whether it is blocked, so it knows its arm, and could have its other connections fail there. What both generations
 * block says nothing of their difference, and counts in neither arm. */
#ifndef SPILLWAY_ARMS_H
#define SPILLWAY_ARMS_H

#include <bpf/bpf_helpers.h>

#include "authority.h"
#include "confirm.h"
#include "flow.h"
#include "maps.h"
#include "packet.h"
#include "votes.h"

#define ARM_SOURCE 1
#define ARM_BAD 2
#define ARM_TAINTED 4

/* arm_of returns 0 for the canary's arm, 1 for the others', and LANES where the lane has no canary now. */
static __always_inline __u32 arm_of(const struct packet *p, const struct comparison *c)
{
	__u32 share = control_canary(p->control);
	struct generation *g = generation_in(c->new_slot);
	if (!g || c->new_slot != control_candidate(p->control) || !share || share >= CANARY_ALL)
		return 2;
	return !in_canary(p, g->salt);
}

static __always_inline void note_bad(struct trial *t, __u32 arm)
{
	__u32 state = state_of(KIND_ARM);
	if ((state & (ARM_SOURCE | ARM_BAD | ARM_TAINTED)) != ARM_SOURCE)
		return;
	int was = note_state(KIND_ARM, ARM_BAD);
	if (was >= 0 && !(was & (ARM_BAD | ARM_TAINTED)))
		__sync_fetch_and_add(&t->bad[arm & 1], 1);
}

/* note_arms counts p's prefix, whose pair is known. A new block that is meant, for it was declared or a person accepted blocks by any
 * rule, fails nobody: its prefix is no source. */
static __always_inline void note_arms(const struct packet *p, const struct comparison *c, const struct pair_key *key,
				      struct trial *t, bool is_meant)
{
	__u32 arm = arm_of(p, c);
	if (arm > 1)
		return;
	bool is_tainted = key->pair == PAIR_NEW_BLOCK && is_meant;
	int was = note_state(KIND_ARM, is_tainted ? ARM_TAINTED : ARM_SOURCE);
	if (is_tainted)
		return;
	if (was >= 0 && !(was & (ARM_SOURCE | ARM_TAINTED)))
		__sync_fetch_and_add(&t->sources[arm & 1], 1);
	bool is_cut = p->outcome == OUTCOME_DROP || p->outcome == OUTCOME_RESET;
	if (is_cut && key->pair == PAIR_NEW_BLOCK)
		note_bad(t, arm);
}

/* ends_unserved says whether an RST ends a connection that was not served. It has the one number that its socket takes
 * (RFC 5961 section 3.2), which a stranger would have to guess; and the server had nothing, or not all of a ClientHello.
 * Many clients reset what was served. */
static __always_inline bool ends_unserved(struct xdp_md *ctx, struct packet *p, const struct flow *flow)
{
	__u32 isn = 0, next = 0;
	if (!socket_next(ctx, p, &isn, &next) || isn != flow->isn || p->seq != next)
		return false;
	int taken = socket_took(ctx, p, isn);
	return !taken || (taken > 0 && (__u32)taken < flow->hello_end);
}

#endif
