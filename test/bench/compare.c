// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//go:build ignore

/* compare.c holds what Spillway is measured against, and what feeds all of them with packets: floors that do nothing,
 * a program that parses and looks up one flow, single lookups of one source, and two feeders of distinct packets. */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "../../bpf/types.h"
#include "../../bpf/hash.h"
#include "../../bpf/prefix.h"

char _license[] SEC("license") = "Dual BSD/GPL";

#define VLAN_TAGS 2

/* What a feeder writes into the frame before it hands it on. */
struct step {
	__be32 saddr;
	__be16 sport;
	__u16 pad;
	__be32 seq;
};

/* Packets in the order in which they are sent; read in order, so the feeder's own reads are prefetched. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct step);
} steps SEC(".maps");

/* Which part of the steps is sent, in a circle. Written by user space between runs. */
struct span {
	__u32 first;
	__u32 count;
	__u32 next;
};
struct span window;

/* Where the sender sends; set before the load. */
volatile const __u32 send_to;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} measured SEC(".maps");

/* The size and the content of the dataplane's `flows`; user space sets both. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct flow_name);
	__type(value, struct flow);
} same_flows SEC(".maps");

/* Those of a generation. */
struct pages {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_RDONLY_PROG | BPF_F_INNER_MAP);
	__type(key, __u32);
	__type(value, struct prefix_page);
};
struct pages table SEC(".maps"), table6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix6_key);
	__type(value, __u32);
} trie6 SEC(".maps");

struct prefix4_key {
	__u32 prefixlen;
	__be32 addr;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix4_key);
	__type(value, __u32);
} trie SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __be32);
	__type(value, __u32);
} exact SEC(".maps");

SEC("xdp.frags")
int empty_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp.frags")
int empty_drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

/* The floor of what looks at packets on their way out. */
SEC("tc")
int empty_egress(struct __sk_buff *skb)
{
	return -1;
}

struct plain_frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

struct plain_frame6 {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

/* rewrite6 writes a step into an IPv6 frame: the 32 bits of its source stand behind 2, of what is routed. */
static __always_inline bool rewrite6(struct xdp_md *ctx, const struct step *s)
{
	struct plain_frame6 *f = (void *)(long)ctx->data;
	if ((void *)(f + 1) > (void *)(long)ctx->data_end)
		return false;
	__u32 source = bpf_ntohl(s->saddr);
	f->ip.saddr.in6_u.u6_addr32[0] = bpf_htonl(0x20000000 | source >> 4);
	f->ip.saddr.in6_u.u6_addr32[1] = bpf_htonl(source << 28);
	f->tcp.source = s->sport;
	f->tcp.seq = s->seq;
	return true;
}

/* rewrite turns the frame, without tags and options, into the next of the window. The checksums stay as they are:
 * nothing that is measured looks at them. */
static __always_inline bool rewrite(struct xdp_md *ctx)
{
	struct plain_frame *f = (void *)(long)ctx->data;
	if ((void *)(f + 1) > (void *)(long)ctx->data_end)
		return false;
	__u32 at = window.next + 1 < window.count ? window.next + 1 : 0;
	window.next = at;
	at += window.first;
	struct step *s = bpf_map_lookup_elem(&steps, &at);
	if (!s)
		return false;
	if (f->eth.h_proto == bpf_htons(ETH_P_IPV6))
		return rewrite6(ctx, s);
	f->ip.saddr = s->saddr;
	f->tcp.source = s->sport;
	f->tcp.seq = s->seq;
	return true;
}

SEC("xdp.frags")
int feed(struct xdp_md *ctx)
{
	if (rewrite(ctx))
		bpf_tail_call(ctx, &measured, 0);
	return XDP_ABORTED; /* nothing is measured: the harness takes it for a failure */
}

SEC("xdp.frags")
int send(struct xdp_md *ctx)
{
	if (!rewrite(ctx))
		return XDP_ABORTED;
	return bpf_redirect(send_to, 0);
}

/* No row of the comparison is of IPv6. */
volatile const struct name_keys name_keys;

/* parse_name reads Ethernet, two tags, IPv4 with options or IPv6, and TCP: the least that a flow table needs. */
static __always_inline bool parse_name(struct xdp_md *ctx, struct flow_name *name)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	if ((void *)(eth + 1) > end)
		return false;
	__be16 type = eth->h_proto;
	void *at = eth + 1;
	for (int i = 0; i < VLAN_TAGS; i++) {
		if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
			break;
		if (at + 4 > end)
			return false;
		type = *(__be16 *)(at + 2);
		at += 4;
	}
	__u8 protocol;
	if (type == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = at;
		if ((void *)(ip + 1) > end || ip->ihl < 5 || ip->frag_off & bpf_htons(0x3fff))
			return false;
		*(__u64 *)name->ends = pair64(ip->saddr, ip->daddr);
		protocol = ip->protocol;
		at += ip->ihl * 4;
	} else if (type == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip6 = at;
		if ((void *)(ip6 + 1) > end)
			return false;
		const __u64 *ends = (const void *)&ip6->saddr;
		*(__u64 *)name->ends =
			hash_ends((const struct name_keys *)&name_keys, ends[0], ends[1], ends[2], ends[3]);
		protocol = ip6->nexthdr;
		at += sizeof(*ip6);
	} else {
		return false;
	}
	struct tcphdr *tcp = at;
	if (protocol != IPPROTO_TCP || (void *)(tcp + 1) > end)
		return false;
	*(__u32 *)&name->sport = *(__u32 *)&tcp->source;
	return true;
}

SEC("xdp.frags")
int one_lookup(struct xdp_md *ctx)
{
	struct flow_name name __attribute__((aligned(8))) = {};
	if (!parse_name(ctx, &name))
		return XDP_ABORTED;
	struct flow *flow = bpf_map_lookup_elem(&same_flows, &name);
	if (!flow)
		return XDP_ABORTED;
	return flow->verdict == VERDICT_PASS ? XDP_PASS : XDP_DROP;
}

/* The address of a frame without tags, unchecked beyond its length: the lookups below are of interest, not the parse. */
static __always_inline __be32 source(struct xdp_md *ctx)
{
	struct plain_frame *f = (void *)(long)ctx->data;
	return (void *)(f + 1) > (void *)(long)ctx->data_end ? 0 : f->ip.saddr;
}

SEC("xdp.frags")
int trie_lookup(struct xdp_md *ctx)
{
	struct prefix4_key key = { .prefixlen = 32, .addr = source(ctx) };
	return bpf_map_lookup_elem(&trie, &key) ? XDP_DROP : XDP_PASS;
}

SEC("xdp.frags")
int table_lookup(struct xdp_md *ctx)
{
	return find4_in(&table, bpf_ntohl(source(ctx))) ? XDP_DROP : XDP_PASS;
}

/* The same of IPv6. */
static __always_inline void source6(struct xdp_md *ctx, __be32 to[4])
{
	struct plain_frame6 *f = (void *)(long)ctx->data;
	if ((void *)(f + 1) <= (void *)(long)ctx->data_end)
		__builtin_memcpy(to, &f->ip.saddr, 16);
}

SEC("xdp.frags")
int trie_lookup6(struct xdp_md *ctx)
{
	struct prefix6_key key = { .prefixlen = 128 };
	source6(ctx, key.addr);
	return bpf_map_lookup_elem(&trie6, &key) ? XDP_DROP : XDP_PASS;
}

SEC("xdp.frags")
int table_lookup6(struct xdp_md *ctx)
{
	__be32 addr[4] = {};
	source6(ctx, addr);
	__u64 high = (__u64)bpf_ntohl(addr[0]) << 32 | bpf_ntohl(addr[1]);
	return find6_in(&table6, high) ? XDP_DROP : XDP_PASS;
}

SEC("xdp.frags")
int exact_lookup(struct xdp_md *ctx)
{
	__be32 key = source(ctx);
	return bpf_map_lookup_elem(&exact, &key) ? XDP_DROP : XDP_PASS;
}
