// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//go:build ignore

/* root.c holds the one program that is attached to interfaces: an object of its own, loaded once and then adopted by every
 * later build. A test holds its digest. */

#include "root.h"

char _license[] SEC("license") = "Dual BSD/GPL";

/* The first program of the dataplane in force. An upgrade is one store here. An empty entry falls through to XDP_PASS. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} root_next SEC(".maps");

SEC("xdp.frags")
int spillway_root(struct xdp_md *ctx)
{
	struct root_words *words = get_root_words();
	if (!words || is_bypassed(words->bypass_until_ns))
		return XDP_PASS;
	bpf_tail_call(ctx, &root_next, 0);
	return XDP_PASS; /* no dataplane: the site is served */
}
