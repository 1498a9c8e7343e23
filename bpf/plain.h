/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* plain.h reads the frames that nearly all visitors send, at fixed offsets: no tag, no IP option or extension header, no
 * fragment, a whole TCP header. A call of a global function costs 10 to 12 ns, and parsing step by step makes three. */
#ifndef SPILLWAY_PLAIN_H
#define SPILLWAY_PLAIN_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>

#include "packet.h"

/* The sizes of all headers. (Not a packed struct of them: of its fields clang would read every byte by itself.) */
#define PLAIN4 (sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct tcphdr))
#define PLAIN6 (sizeof(struct ethhdr) + sizeof(struct ipv6hdr) + sizeof(struct tcphdr))

/* take_tcp leaves what parse_tcp would, or returns false and leaves nothing. */
static __always_inline bool take_tcp(struct packet *p, const struct tcphdr *tcp, __u32 off, __u32 l4_len)
{
	__u32 header_len = tcp->doff * 4;
	if (header_len < sizeof(*tcp) || header_len > l4_len)
		return false;
	p->protocol = IPPROTO_TCP;
	*(__u32 *)&p->key.sport = *(__u32 *)&tcp->source; /* both ports: see store_ipv4 */
	p->seq = bpf_ntohl(tcp->seq);
	p->window = bpf_ntohs(tcp->window);
	p->tcp_flags = ((__u8 *)tcp)[13];
	p->options_len = header_len - sizeof(*tcp);
	p->payload_off = off + header_len;
	p->payload_len = l4_len - header_len;
	return true;
}

/* The key is copied and hashed in words of 8 bytes; a load that spans two narrower stores waits until both have left the
 * core's store buffer, 5 ns each time. */
static __always_inline void store_ipv4(__be32 addr[4], __be32 value)
{
	*(__u64 *)&addr[2] = (__u64)value << 32 | bpf_htonl(0xffff);
}

/* Of a packed struct clang would copy single bytes. */
static __always_inline void store_ipv6(__be32 addr[4], const void *value)
{
	*(__u64 *)&addr[0] = ((const __u64 *)value)[0];
	*(__u64 *)&addr[2] = ((const __u64 *)value)[1];
}

static __always_inline bool parse_plain4(struct packet *p, const struct iphdr *ip)
{
	__u32 len = bpf_ntohs(ip->tot_len);
	if (*(const __u8 *)ip != IPV4_WITHOUT_OPTIONS || ip->protocol != IPPROTO_TCP || len < sizeof(*ip) ||
	    ip->frag_off & bpf_htons(IPV4_OFFSET | IPV4_MORE_FRAGMENTS))
		return false;
	if (!take_tcp(p, (const void *)(ip + 1), sizeof(struct ethhdr) + sizeof(*ip), len - sizeof(*ip)))
		return false;
	store_ipv4(p->key.saddr, ip->saddr);
	store_ipv4(p->key.daddr, ip->daddr);
	return true;
}

static __always_inline bool parse_plain6(struct packet *p, const struct ipv6hdr *ip6)
{
	if (*(const __u8 *)ip6 >> 4 != 6 || ip6->nexthdr != IPPROTO_TCP)
		return false;
	if (!take_tcp(p, (const void *)(ip6 + 1), sizeof(struct ethhdr) + sizeof(*ip6), bpf_ntohs(ip6->payload_len)))
		return false;
	store_ipv6(p->key.saddr, &ip6->saddr);
	store_ipv6(p->key.daddr, &ip6->daddr);
	return true;
}

/* parse_plain returns false, with p untouched, for everything that is not plain or contradicts itself. */
static __always_inline bool parse_plain(struct xdp_md *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	if (data + PLAIN4 > end)
		return false;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return parse_plain4(p, data + sizeof(*eth));
	if (eth->h_proto != bpf_htons(ETH_P_IPV6) || data + PLAIN6 > end)
		return false;
	return parse_plain6(p, data + sizeof(*eth));
}

#endif
