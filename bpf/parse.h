/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* parse.h takes a frame apart: Ethernet, VLAN tags, IPv4 with options, IPv6 with extension headers, TCP, UDP.
 *
 * What cannot be read is never dropped for that: with known addresses it is judged by its addresses
 * (PACKET_ADDRESSES_ONLY), so that no layer is a way around a prefix rule or a ban; without, it passes.
 *
 * The stages are global functions: each is verified once, and the offsets they leave behind are plain numbers to the
 * caller, so paths do not multiply. */
#ifndef SPILLWAY_PARSE_H
#define SPILLWAY_PARSE_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "packet.h"
#include "plain.h"

/* Linux strips any number of priority tags (VLAN 0) and walks any number of extension headers, so whoever stops earlier
 * can be walked around. These are as many as fit a frame of 1,514 bytes; only a neighbour on a jumbo link can send more. */
#define VLAN_TAGS_MAX 370
#define EXTENSION_HEADERS_MAX 184
/* 14 bytes Ethernet and all tags fit 11 bits. */
#define L3_OFF_MASK 2047
/* The verifier wants packet offsets below 65,536; headers that lie further than half of that are not followed. */
#define L4_OFF_MASK 32767

/* header_at returns `size` bytes at off: in place where they lie in the linear part, else a copy of them in buf, or 0 where
 * the frame ends before. How much of a frame is linear is the driver's choice: with striding receive queues or a jumbo MTU it
 * may be less than the headers, down to nothing. */
static __always_inline void *header_at(struct xdp_md *ctx, __u32 off, void *buf, __u32 size)
{
	void *at = (void *)(long)ctx->data + off;
	if (at + size > (void *)(long)ctx->data_end)
		at = bpf_xdp_load_bytes(ctx, off, buf, size) ? 0 : buf;
	bounded(at); /* one pointer, whichever it is: clang would compare data with 0 in its place */
	return at;
}

/* step_tag steps over the tag at l3_off. */
__noinline int step_tag(struct xdp_md *ctx, struct packet *p)
{
	if (!p)
		return REASON_INTERNAL;
	struct vlan_tag copy, *tag = header_at(ctx, p->l3_off & L3_OFF_MASK, &copy, sizeof(copy));
	if (!tag)
		return REASON_MALFORMED;
	p->ethertype = bpf_ntohs(tag->ethertype);
	p->l3_off += sizeof(*tag);
	return REASON_CONTINUE;
}

/* parse_link leaves l3_off and ethertype. */
static __always_inline int parse_link(struct xdp_md *ctx, struct packet *p)
{
	struct ethhdr copy, *eth = header_at(ctx, 0, &copy, sizeof(copy));
	if (!eth)
		return REASON_MALFORMED;
	p->ethertype = bpf_ntohs(eth->h_proto);
	p->l3_off = sizeof(*eth);
	for (int i = 0; i < VLAN_TAGS_MAX && is_tag(p->ethertype); i++) {
		int reason = step_tag(ctx, p);
		if (reason)
			return reason;
	}
	return is_tag(p->ethertype) ? REASON_TOO_DEEP : REASON_CONTINUE;
}

static __always_inline bool is_inspected(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

/* addresses_only ends the parse of a packet whose addresses are known. */
static __always_inline int addresses_only(struct packet *p, enum reason why)
{
	if (!is_inspected(p->protocol))
		p->protocol = 0;
	p->flags |= PACKET_ADDRESSES_ONLY;
	doubt(p, why);
	return REASON_CONTINUE;
}

__noinline int parse_ipv4(struct xdp_md *ctx, struct packet *p)
{
	if (!p)
		return REASON_INTERNAL;
	__u32 off = p->l3_off & L3_OFF_MASK;
	struct iphdr copy, *ip = header_at(ctx, off, &copy, sizeof(copy));
	if (!ip)
		return REASON_MALFORMED;

	p->key.saddr[2] = p->key.daddr[2] = bpf_htonl(0xffff);
	p->key.saddr[3] = ip->saddr;
	p->key.daddr[3] = ip->daddr;
	__u32 header_len = ip->ihl * 4;
	__u32 total_len = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header_len < sizeof(*ip) || total_len < header_len)
		return addresses_only(p, REASON_MALFORMED);
	if (!is_inspected(ip->protocol))
		return REASON_OTHER_PROTOCOL;

	p->protocol = ip->protocol;
	p->l4_off = off + header_len;
	p->l4_len = total_len - header_len;
	__u16 frag = bpf_ntohs(ip->frag_off);
	if (frag & (IPV4_OFFSET | IPV4_MORE_FRAGMENTS)) {
		doubt(p, REASON_FRAGMENT);
		p->flags |= PACKET_FRAGMENT;
	}
	if (frag & IPV4_OFFSET)
		return addresses_only(p, REASON_FRAGMENT);
	return REASON_CONTINUE;
}

/* How long an extension header is, or 0 when next is none that we step over. The fragment header is step_fragment's. */
static __always_inline __u32 extension_len(__u8 next, __u8 len)
{
	switch (next) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
	case 135: /* Mobility, RFC 6275 */
	case 139: /* HIP, RFC 7401 */
	case 140: /* Shim6, RFC 5533 */
		return ((__u32)len + 1) * 8;
	case IPPROTO_AH:
		return ((__u32)len + 2) * 4;
	}
	return 0;
}

static __always_inline int advance(struct packet *p, __u8 next, __u32 len)
{
	if (len > p->l4_len)
		return addresses_only(p, REASON_MALFORMED);
	p->protocol = next;
	p->l4_len -= len;
	p->l4_off += len;
	return REASON_CONTINUE;
}

static __always_inline int step_fragment(struct xdp_md *ctx, struct packet *p, __u32 off)
{
	struct fragment_header copy, *fragment = header_at(ctx, off, &copy, sizeof(copy));
	if (!fragment || p->l4_len < sizeof(*fragment))
		return addresses_only(p, REASON_MALFORMED);
	__u16 frag = bpf_ntohs(fragment->frag_off);
	/* An atomic fragment (RFC 6946) is a whole packet. */
	if (frag & (IPV6_OFFSET | IPV6_MORE_FRAGMENTS)) {
		doubt(p, REASON_FRAGMENT);
		p->flags |= PACKET_FRAGMENT;
	}
	if (frag & IPV6_OFFSET)
		return addresses_only(p, REASON_FRAGMENT);
	return advance(p, fragment->next, sizeof(*fragment));
}

/* step_extension steps over the extension header at l4_off, whose kind stands in protocol. */
__noinline int step_extension(struct xdp_md *ctx, struct packet *p)
{
	if (!p)
		return REASON_INTERNAL;
	__u32 off = p->l4_off & L4_OFF_MASK;
	if (p->l4_off > L4_OFF_MASK)
		return addresses_only(p, REASON_TOO_DEEP);
	if (p->protocol == IPPROTO_FRAGMENT)
		return step_fragment(ctx, p, off);
	if (!extension_len(p->protocol, 0))
		return REASON_OTHER_PROTOCOL;
	struct extension copy, *ext = header_at(ctx, off, &copy, sizeof(copy));
	if (!ext)
		return addresses_only(p, REASON_MALFORMED);
	return advance(p, ext->next, extension_len(p->protocol, ext->len));
}

__noinline int parse_ipv6(struct xdp_md *ctx, struct packet *p)
{
	if (!p)
		return REASON_INTERNAL;
	__u32 off = p->l3_off & L3_OFF_MASK;
	struct ipv6hdr copy, *ip6 = header_at(ctx, off, &copy, sizeof(copy));
	if (!ip6)
		return REASON_MALFORMED;

	__builtin_memcpy(p->key.saddr, &ip6->saddr, 16);
	__builtin_memcpy(p->key.daddr, &ip6->daddr, 16);
	if (ip6->version != 6)
		return addresses_only(p, REASON_MALFORMED);
	p->protocol = ip6->nexthdr;
	p->l4_len = bpf_ntohs(ip6->payload_len);
	p->l4_off = off + sizeof(*ip6);
	/* Linux takes this for a jumbogram (RFC 2675) and believes the frame, also where no jumbo option follows. */
	if (!p->l4_len && p->protocol == IPPROTO_HOPOPTS)
		p->l4_len = bpf_xdp_get_buff_len(ctx) - p->l4_off;
	for (int i = 0; i < EXTENSION_HEADERS_MAX && !is_inspected(p->protocol); i++) {
		int reason = step_extension(ctx, p);
		if (reason || p->flags & PACKET_ADDRESSES_ONLY)
			return reason;
	}
	return is_inspected(p->protocol) ? REASON_CONTINUE : addresses_only(p, REASON_TOO_DEEP);
}

static __always_inline int ports_only(struct packet *p)
{
	p->flags |= PACKET_PORTS_ONLY;
	doubt(p, REASON_MALFORMED);
	return REASON_CONTINUE;
}

__noinline int parse_tcp(struct xdp_md *ctx, struct packet *p)
{
	if (!p)
		return REASON_INTERNAL;
	__u32 off = p->l4_off & L4_OFF_MASK;
	struct tcphdr copy, *tcp = header_at(ctx, off, &copy, sizeof(copy));
	/* The ports lie in the first four bytes: even a fragment of eight bytes says which service it means. */
	struct tcphdr *ports = tcp ?: header_at(ctx, off, &copy, 4);
	if (p->l4_off > L4_OFF_MASK || !ports || p->l4_len < 4) {
		if (p->flags & PACKET_FRAGMENT)
			p->flags |= PACKET_TINY;
		return addresses_only(p, REASON_MALFORMED);
	}
	p->key.sport = ports->source;
	p->key.dport = ports->dest;
	if (!tcp || p->l4_len < sizeof(*tcp))
		return ports_only(p);
	__u32 header_len = tcp->doff * 4;
	if (header_len < sizeof(*tcp) || header_len > p->l4_len)
		return ports_only(p);
	p->seq = bpf_ntohl(tcp->seq);
	p->window = bpf_ntohs(tcp->window);
	p->tcp_flags = ((__u8 *)tcp)[13];
	p->options_len = header_len - sizeof(*tcp);
	p->payload_off = off + header_len;
	p->payload_len = p->l4_len - header_len;
	return REASON_CONTINUE;
}

static __always_inline int parse_udp(struct xdp_md *ctx, struct packet *p)
{
	struct udphdr copy, *udp = header_at(ctx, p->l4_off & L4_OFF_MASK, &copy, sizeof(copy));
	if (p->l4_off > L4_OFF_MASK || !udp || p->l4_len < sizeof(*udp))
		return addresses_only(p, REASON_MALFORMED);
	p->key.sport = udp->source;
	p->key.dport = udp->dest;
	p->payload_len = p->l4_len - sizeof(*udp);
	return REASON_CONTINUE;
}

static __always_inline int parse(struct xdp_md *ctx, struct packet *p)
{
	if (parse_plain(ctx, p))
		return REASON_CONTINUE;
	int reason = parse_link(ctx, p);
	if (reason)
		return reason;
	if (p->ethertype == ETH_P_IP)
		reason = parse_ipv4(ctx, p);
	else if (p->ethertype == ETH_P_IPV6)
		reason = parse_ipv6(ctx, p);
	else
		return REASON_NOT_IP;
	if (reason || p->flags & PACKET_ADDRESSES_ONLY)
		return reason;
	return p->protocol == IPPROTO_TCP ? parse_tcp(ctx, p) : parse_udp(ctx, p);
}

#endif
