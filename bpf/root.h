/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* root.h holds what every build of Spillway reads, whatever stands behind the root program. It never changes: links,
 * the kill switch and the way to the next dataplane of a build that is not written yet rest on these bytes. */
#ifndef SPILLWAY_ROOT_H
#define SPILLWAY_ROOT_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

/* "spillway" in the order of memory. */
#define ROOT_MAGIC 0x7961776c6c697073ULL

/* All ones: no end. */
#define NEVER (~0ULL)

/* One entry, which user space stores to through a memory mapping, word by word. Times are CLOCK_MONOTONIC, nanoseconds. */
struct root_words {
	__u64 magic;           /* ROOT_MAGIC, from the first start on */
	__u64 layout;          /* ABI number of the dataplane that was put in force last: the name of its folder */
	__u64 bypass_until_ns; /* 0: off; all ones: until switched off */
	__u64 heartbeat_ns;    /* when an agent last lived */
	__u64 reserved[28];    /* zero. What a later build needs has its place in that build's own folder */
};
_Static_assert(sizeof(struct root_words) == 256, "root_words is for ever");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct root_words);
} root SEC(".maps");

static __always_inline struct root_words *get_root_words(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&root, &zero);
}

/* A bypass is off (0), on until switched off (all ones), or on until a time; only the last needs a clock. */
static __always_inline bool is_bypassed(__u64 until_ns)
{
	if (!until_ns)
		return false;
	return until_ns == NEVER || bpf_ktime_get_coarse_ns() < until_ns;
}

#endif
