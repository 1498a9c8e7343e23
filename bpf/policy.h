/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* policy.h holds the types of a service's policy: its thresholds, its limit, and the sets in which keys of limits lie. */
#ifndef SPILLWAY_POLICY_H
#define SPILLWAY_POLICY_H

#include <linux/types.h>

enum policy_flags {
	POLICY_DROP_FRAGMENTS = 1, /* fragments that begin a TCP segment to the service are dropped */
	POLICY_DROP_TINY = 2,      /* and those without ports, for all TCP services on its addresses are of this kind */
};

/* What a limit counts together. IPv6 sources are their /64. */
enum limit_key {
	LIMIT_BY_SOURCE = 0,
	LIMIT_BY_PREFIX = 1,      /* /24, /48 */
	LIMIT_BY_FINGERPRINT = 2, /* of a source */
};

struct policy {
	__u32 tag;      /* the service this was compiled for; another tag means another service: pass */
	__u8 drop;      /* score from which to drop; 0: never */
	__u8 reset;     /* score from which to reset; 0: never */
	__u8 flags;     /* enum policy_flags */
	__u8 tags;      /* score from which to tag; 0: never */
	__u8 limits;    /* score from which to limit; 0: never */
	__u8 by;        /* enum limit_key */
	__u8 over;      /* enum verdict of what is beyond: drop or reset */
	__u8 shared;    /* so many times the rate for an address that many share; 0, 1: none */
	__u32 limit;    /* the limit's name: two with one are the same, and charged once */
	__u64 interval; /* from one connection to the next, in units of 1,024 ns; 0: there is no limit */
	__u32 burst;    /* that may come at once */
	__u16 alone; /* what a source's prefixes have to say for its SYN to be dropped whatever else speaks for or against it; 0: nothing is
		      * enough */
	__u16 alone_by; /* and one of them at least, so that it is named for it */
};
_Static_assert(sizeof(struct policy) == 32, "policy is ABI");

enum {
	LIMIT_WAYS = 8,
	/* A power of two; 2 MiB for 262,144 keys that are not at rest. */
	LIMIT_SETS = 32768,
	/* A power of two; 1 MiB for 131,072 addresses. */
	SHARER_SETS = 16384,
};

/* A cache line of keys, a word each; see limit.h and sharer.h. */
struct limit_set {
	__u64 ways[LIMIT_WAYS];
};
_Static_assert(sizeof(struct limit_set) == 64, "limit_set is ABI");

struct limit_count {
	__u64 lost;    /* connections that passed uncharged: others won each swap */
	__u64 evicted; /* keys that were forgotten before their time, for their set was full */
};
_Static_assert(sizeof(struct limit_count) == 16, "limit_count is ABI");

#endif
