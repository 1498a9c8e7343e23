// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//go:build ignore

/* conntrack.c holds the program that asks connection tracking. It is an object of its own: where nf_conntrack is a module,
 * only CAP_SYS_ADMIN can load what calls into it, and the agent has not got that. */

#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "conntrack.h"

/* The kernel's functions want it; the choice of licence is the user's. */
char _license[] SEC("license") = "Dual BSD/GPL";

/* Where each load of the dataplane goes on, so that no packet meets the programs of two. Written by the loader. An empty
 * entry passes. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, CONNTRACK_NEXT_MAX);
	__type(key, __u32);
	__type(value, __u32);
} conntrack_next SEC(".maps");

/* The fields that are read of the kernel's own structs; CO-RE finds them wherever they lie. */
struct ip_ct_tcp_state {
	__u32 td_end;
} __attribute__((preserve_access_index));

struct ip_ct_tcp {
	struct ip_ct_tcp_state seen[2];
	__u8 state;
} __attribute__((preserve_access_index));

union nf_conntrack_proto {
	struct ip_ct_tcp tcp;
} __attribute__((preserve_access_index));

struct nf_conn {
	unsigned long status;
	union nf_conntrack_proto proto;
} __attribute__((preserve_access_index));

#define DIRECTION_ORIGINAL 0

/* As Linux 5.18 has it; later ones have it longer, and take this. */
struct bpf_ct_opts {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u8 reserved[2];
};

extern struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *ctx, struct bpf_sock_tuple *tuple, __u32 tuple_size,
					 struct bpf_ct_opts *options, __u32 options_size) __ksym;
extern void bpf_ct_release(struct nf_conn *connection) __ksym;

/* client_end reads the first word of a union. The verifier looks at the union's first member, which in some kernels (6.1:
 * struct nf_ct_dccp) has bytes there, so the word is read by bytes. One that changes meanwhile fits no packet. */
static __always_inline __u32 client_end(const struct nf_conn *connection)
{
	const volatile __u8 *at = (const void *)connection;
	at += __builtin_preserve_field_info(connection->proto.tcp.seen[0].td_end, BPF_FIELD_BYTE_OFFSET);
	return at[0] | (__u32)at[1] << 8 | (__u32)at[2] << 16 | (__u32)at[3] << 24;
}

SEC("xdp.frags")
int spillway_conntrack(struct xdp_md *ctx)
{
	struct conntrack *c = get_conntrack();
	if (!c)
		return XDP_PASS;
	struct bpf_sock_tuple tuple;
	__builtin_memcpy(&tuple, c->tuple, sizeof(tuple));
	struct bpf_ct_opts options = { .netns_id = BPF_F_CURRENT_NETNS, .l4proto = IPPROTO_TCP };
	__u32 size = c->size == sizeof(tuple.ipv4) ? sizeof(tuple.ipv4) : sizeof(tuple.ipv6);
	struct nf_conn *connection = bpf_xdp_ct_lookup(ctx, &tuple, size, &options, sizeof(options));
	c->found = 0;
	if (connection) {
		c->found = options.dir == DIRECTION_ORIGINAL;
		c->status = connection->status;
		c->state = connection->proto.tcp.state;
		c->client_end = client_end(connection);
		c->server_end = connection->proto.tcp.seen[1].td_end;
		bpf_ct_release(connection);
	}
	bpf_tail_call(ctx, &conntrack_next, c->next);
	return XDP_PASS;
}
