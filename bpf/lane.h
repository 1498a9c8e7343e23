/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* lane.h holds the types of a comparison of two generations on the same first payloads: what is compared, and what is counted. */
#ifndef SPILLWAY_LANE_H
#define SPILLWAY_LANE_H

#include <linux/types.h>

enum {
	/* Two rollouts may be compared at once: the one that runs, and a change on the fast track. */
	LANE_MAIN = 0,
	LANE_FAST = 1,
	LANES = 2,
	VOTE_WAYS = 8,
	/* A power of two; 4 MiB for half a million source prefixes, arms and days included. */
	VOTE_SETS = 65536,
	/* A power of two; 64 KiB. A window's budget is some dozens of prefixes on most sites. */
	MARK_SETS = 1024,
	PAIRS_MAX = 8192,
	BLAME_MAX = 8192,
	/* Contributions to one verdict of which each is left out once, to see whether it made the block. */
	PARTS_MAX = 8,
	/* Extra blocks of a window that every site is allowed. */
	BUDGET_LEAST = 20,
	/* And of so many connections one more. */
	BUDGET_SHARE = 1000,
};

/* In place of the index of a rule. */
enum no_rule {
	RULE_NONE = 0x10000,    /* no rule made the block */
	RULE_SEVERAL = 0x10001, /* several did, none of which could be left out alone */
};

/* How two verdicts on one first payload differ; a stronger one takes the place of a weaker one. */
enum pair {
	PAIR_NONE = 0,
	PAIR_BOTH_PASS = 1,
	PAIR_BOTH_BLOCK = 2,
	PAIR_NEW_PASS = 3,
	PAIR_NEW_BLOCK = 4,
};

/* Why a source is protected: the value of its row in the host's allowlist, or a vouch. */
enum class {
	CLASS_NONE = 0,
	CLASS_ALLOWLIST = 1,
	CLASS_GOLDEN = 2,
	CLASS_HEALTH = 3,
	CLASS_CRAWLER = 4,
	CLASS_VOUCHED = 5,
	/* Beside the class in the allowlist: the host file protects it no longer. Only a generation that is behind spares it. */
	CLASS_LEAVES = 0x100,
};

/* The parts of lane.where: the slots, the run, and how many blocks by any rule were allowed of a thousand connections. */
#define LANE_NEW_SLOT 8
#define LANE_RUN 16
#define LANE_ALLOWED 32

/* What a lane compares. Written by the agent word by word, so check is of both others: whoever meets half of a change
 * compares nothing. */
struct lane {
	__u64 numbers; /* of the generations: the old one's, and the new one's in the upper half; 0 there: nothing is compared */
	__u64 where; /* their slots, the run and what is allowed: LANE_NEW_SLOT and the others */
	__u64 check;
};
_Static_assert(sizeof(struct lane) == 24, "lane is ABI");

/* One cell of what the source prefixes of a lane showed. */
struct pair_key {
	__u32 generation; /* the new one */
	__u32 rule;       /* of the bundle by its index, or enum no_rule */
	__u8 lane;
	__u8 service;
	__u8 pair;
	__u8 class;
	__u8 is_declared;
	__u8 pad[3];
};
_Static_assert(sizeof(struct pair_key) == 16, "pair_key is ABI");

struct blame_key {
	__u32 generation;
	__u16 rule;
	__u8 lane;
	__u8 pad;
};
_Static_assert(sizeof(struct blame_key) == 8, "blame_key is ABI");

/* A cache line of names; see bpf/votes.h. */
struct vote_set {
	__u64 ways[VOTE_WAYS];
};
_Static_assert(sizeof(struct vote_set) == 64, "vote_set is ABI");

/* What one processor counted of a lane. */
struct lane_count {
	__u64 connections; /* first payloads that somebody vouches for */
	__u64 unconfirmed; /* decisions on what can be forged */
	__u64 lost;        /* what found no room, and was counted nowhere */
};
_Static_assert(sizeof(struct lane_count) == 24, "lane_count is ABI");

/* The last protected source that the new generation blocks and the old one passes. */
struct hit {
	__u32 begun; /* equal to done, unless it is being written */
	__u32 done;
	__u32 generation; /* the new one; 0: there was none */
	__u32 rule;
	__be32 saddr[4];
	__u64 time_ns;
	__u8 class;
	__u8 service;
	__u8 is_declared;
	__u8 pad[5];
};
_Static_assert(sizeof(struct hit) == 48, "hit is ABI");

/* What all processors count of a lane together. */
struct trial {
	__u64 charged; /* window and, in the lower half, the extra blocks that were enforced in it; by compare-and-swap */
	__u64 traffic[2]; /* window and its connections: this one's and the last one's, by parity */
	__u64 sources[2]; /* prefixes: of the canary, and of the others */
	__u64 bad[2];
	__u64 moving; /* votes that moved from one pair to another: as many as moved, unless one is on its way */
	__u64 moved;
	struct hit hit;
};
_Static_assert(sizeof(struct trial) == 120, "trial is ABI");

#endif
