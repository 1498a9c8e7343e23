// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//go:build ignore

/* limit.c asks the dataplane's limits, and what it knows of shared addresses, as a test wants it: of keys, rates and moments that come
 * as a packet. Nothing in between decides who is asked. */

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

#include "../../../bpf/limit.h"
#include "../../../bpf/sharer.h"

char _license[] SEC("license") = "Dual BSD/GPL";

enum {
	ASKS_MAX = 64, /* of a packet */
	GATES = 65536,
	MEET_TRIES = 400, /* a few microseconds: with nobody to meet a run goes on */
};

enum answer {
	ANSWER_NONE = 0, /* the workspace is another's: ask again */
	ANSWER_WITHIN = 1,
	ANSWER_OVER = 2,
	ANSWER_LOST = 3, /* within, and charged to nobody */
};

/* One connection of a key. */
struct ask {
	__u64 hash;
	__u64 interval;
	__u64 now;
	__u64 wait; /* the answer: until there is room */
	__u32 burst;
	__u8 answer;  /* enum answer */
	__u8 evicted; /* keys that gave up their place for this one */
	__u16 gate;   /* where runs wait for each other before they ask; 0: nowhere */
};

/* One client of an address. */
struct note {
	__u64 hash;
	__u32 kind;
	__u32 period;
	__u32 kinds; /* the answer */
	__u32 pad;
};

/* How many runs came to each gate. A test uses one once, or writes zeros. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GATES);
	__type(key, __u32);
	__type(value, __u32);
} gates SEC(".maps");

const struct ask *keep_ask __attribute__((unused));
const struct note *keep_note __attribute__((unused));
const enum answer *keep_answer __attribute__((unused));

/* meet has two runs go on at one moment, as far as that can be had: what two
 * processors do at once is a matter of nanoseconds. */
__noinline int meet(__u32 gate)
{
	__u32 *came = bpf_map_lookup_elem(&gates, &gate);
	if (!came || !gate)
		return 0;
	__u32 mine = __sync_fetch_and_add(came, 1) + 1;
	for (int i = 0; i < MEET_TRIES && mine & 1; i++) {
		if (*(volatile __u32 *)came > mine)
			return 1;
	}
	return 0;
}

/* charge asks for what is in the workspace. What cannot be held is counted for
 * each processor, so the difference is this one's. */
static __always_inline void charge(struct ask *a, struct workspace *ws, struct limit_count *n)
{
	__u64 lost = n->lost, evicted = n->evicted;
	struct limit *l = &ws->limit;
	l->set = a->hash & (LIMIT_SETS - 1);
	l->name = name_of(a->hash);
	l->burst = a->burst;
	l->interval = a->interval;
	l->now = a->now;
	l->wait = 0;
	bool is_over = admit();
	a->wait = l->wait;
	a->evicted = n->evicted - evicted;
	a->answer = is_over ? ANSWER_OVER : n->lost != lost ? ANSWER_LOST : ANSWER_WITHIN;
}

SEC("xdp")
int ask_limits(struct xdp_md *ctx)
{
	struct workspace *ws = get_workspace();
	struct limit_count *n = limit_count();
	if (!ws || !n)
		return XDP_ABORTED;
	/* A run may be interrupted by another one on some kernels. */
	if (__sync_lock_test_and_set(&ws->is_busy, 1))
		return XDP_DROP;
	for (__u32 i = 0; i < ASKS_MAX; i++) {
		struct ask *a = (struct ask *)(long)ctx->data + i;
		if ((void *)(a + 1) > (void *)(long)ctx->data_end)
			break;
		struct ask copy = *a; /* the call forgets where the packet lies */
		meet(copy.gate);
		charge(&copy, ws, n);
		a = (struct ask *)(long)ctx->data + i;
		if ((void *)(a + 1) > (void *)(long)ctx->data_end)
			break;
		*a = copy;
	}
	*(volatile __u32 *)&ws->is_busy = 0;
	return XDP_PASS;
}

SEC("xdp")
int note_kinds(struct xdp_md *ctx)
{
	struct note *a = (struct note *)(long)ctx->data;
	if ((void *)(a + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	__u32 kinds = note_kind(a->hash, a->kind, a->period);
	a = (struct note *)(long)ctx->data;
	if ((void *)(a + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	a->kinds = kinds;
	return XDP_PASS;
}
