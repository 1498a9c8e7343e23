/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* conntrack.h holds what the dataplane and the program that asks connection tracking say to each other. That program may
 * be loaded by another build, with rights that the agent has not: this page never changes, or its folder gets a new name. */
#ifndef SPILLWAY_CONNTRACK_H
#define SPILLWAY_CONNTRACK_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Loads of the dataplane that are alive at once: the one in force, the one before it while packets leave it, and what a
 * crash left until the next start. */
#define CONNTRACK_NEXT_MAX 64

/* A question about a connection, and the answer. */
struct conntrack {
	__u32 next;       /* who asks: its entry of conntrack_next, where the packet goes on */
	__u32 size;       /* of the tuple: 12 for IPv4, 36 for IPv6 */
	__u8 tuple[36];   /* struct bpf_sock_tuple, as the client addresses it: before any NAT */
	__u32 found;      /* an entry has the tuple in its original direction. What follows is of it */
	__u32 status;     /* IPS_..., uapi/linux/netfilter/nf_conntrack_common.h */
	__u32 state;      /* TCP_CONNTRACK_..., uapi/linux/netfilter/nf_conntrack_tcp.h */
	__u32 client_end; /* the sequence number that the client may send next: td_end of its direction */
	__u32 server_end; /* and the server */
	__u32 reserved[8];
};
_Static_assert(sizeof(struct conntrack) == 96, "conntrack is for ever");

/* One entry. Written by the dataplane (the question), then by the program (the answer), then read. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct conntrack);
} conntracks SEC(".maps");

static __always_inline struct conntrack *get_conntrack(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&conntracks, &zero);
}

#endif
