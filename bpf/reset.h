/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* reset.h ends a connection on both sides. The packet that decided becomes an RST towards the server, whose socket is
 * freed at once; every later segment is answered with an RST to the client, and never passed: behind a SYN cookie a
 * retransmission would be accepted as a new connection. */
#ifndef SPILLWAY_RESET_H
#define SPILLWAY_RESET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "checksum.h"
#include "confirm.h"
#include "packet.h"
#include "parse.h"
#include "syn.h"

#define RESET_TTL 64

struct reset4 {
	struct iphdr ip;
	struct tcphdr tcp;
};

struct reset6 {
	struct ipv6hdr ip6;
	struct tcphdr tcp;
};

/* fill_tcp writes the segment and its checksum. */
static __always_inline void fill_tcp(struct tcphdr *tcp, const struct flow_key *k, __u32 seq, __u32 ack, bool has_ack)
{
	__builtin_memset(tcp, 0, sizeof(*tcp));
	tcp->source = k->sport;
	tcp->dest = k->dport;
	tcp->seq = bpf_htonl(seq);
	tcp->ack_seq = bpf_htonl(ack);
	tcp->doff = sizeof(*tcp) / 4;
	tcp->rst = 1;
	tcp->ack = has_ack;
	tcp->check = fold(add_words(add_pseudo_header(k, sizeof(*tcp)), tcp, sizeof(*tcp) / 4));
}

static __always_inline void fill_ipv4(struct reset4 *r, const struct flow_key *k)
{
	__builtin_memset(&r->ip, 0, sizeof(r->ip));
	r->ip.version = 4;
	r->ip.ihl = sizeof(r->ip) / 4;
	r->ip.tot_len = bpf_htons(sizeof(*r));
	r->ip.frag_off = bpf_htons(IPV4_DONT_FRAGMENT);
	r->ip.ttl = RESET_TTL;
	r->ip.protocol = IPPROTO_TCP;
	r->ip.saddr = k->saddr[3];
	r->ip.daddr = k->daddr[3];
	r->ip.check = fold(add_words(0, &r->ip, sizeof(r->ip) / 4));
}

static __always_inline void fill_ipv6(struct reset6 *r, const struct flow_key *k)
{
	__builtin_memset(&r->ip6, 0, sizeof(r->ip6));
	r->ip6.version = 6;
	r->ip6.payload_len = bpf_htons(sizeof(r->tcp));
	r->ip6.nexthdr = IPPROTO_TCP;
	r->ip6.hop_limit = RESET_TTL;
	__builtin_memcpy(&r->ip6.saddr, k->saddr, sizeof(r->ip6.saddr));
	__builtin_memcpy(&r->ip6.daddr, k->daddr, sizeof(r->ip6.daddr));
}

/* write_reset makes the frame an RST of the connection k. Whatever tags it has it keeps. */
__noinline int write_reset(struct xdp_md *ctx, struct packet *p, struct flow_key *k, __u32 seq, __u64 ack)
{
	if (!p || !k)
		return -1;
	struct workspace *ws = get_workspace();
	bool is_own = p->flags & PACKET_AT_WORK;
	if (!ws || (!is_own && !take_workspace(ws)))
		return -1;
	__u32 off = (p->l3_off ? p->l3_off : sizeof(struct ethhdr)) & L3_OFF_MASK;
	bool is4 = is_ipv4(k->saddr);
	void *headers = ws->answer;
	int error;
	if (is4) {
		struct reset4 *r = headers;
		fill_ipv4(r, k);
		fill_tcp(&r->tcp, k, seq, ack, ack >> 32);
		error = bpf_xdp_store_bytes(ctx, off, r, sizeof(*r));
	} else {
		struct reset6 *r = headers;
		fill_ipv6(r, k);
		fill_tcp(&r->tcp, k, seq, ack, ack >> 32);
		error = bpf_xdp_store_bytes(ctx, off, r, sizeof(*r));
	}
	if (!is_own)
		leave_workspace(ws);
	if (error)
		return -1;
	int surplus = bpf_xdp_get_buff_len(ctx) - off - (is4 ? sizeof(struct reset4) : sizeof(struct reset6));
	return surplus > 0 ? bpf_xdp_adjust_tail(ctx, -surplus) : 0;
}

/* reset_server rewrites p into an RST that the server's socket accepts, with the number that it waits for (RFC 5961 section
 * 3.2). What passed just before p may still be on its way to the socket: then it will wait for p's. */
static __always_inline int reset_server(struct xdp_md *ctx, struct packet *p, __u32 next)
{
	struct flow_key key = p->key;
	if ((__s32)(p->seq - next) > 0)
		next = p->seq;
	return write_reset(ctx, p, &key, next, 0) ? XDP_DROP : XDP_PASS;
}

/* swap_addresses turns the frame around. */
static __always_inline int swap_addresses(struct xdp_md *ctx)
{
	__u8 from[2 * ETH_ALEN], to[2 * ETH_ALEN];
	if (bpf_xdp_load_bytes(ctx, 0, from, sizeof(from)))
		return -1;
	__builtin_memcpy(to, from + ETH_ALEN, ETH_ALEN);
	__builtin_memcpy(to + ETH_ALEN, from, ETH_ALEN);
	return bpf_xdp_store_bytes(ctx, 0, to, sizeof(to));
}

/* reset_client answers p with an RST that the client accepts: with the number that it acknowledged (RFC 9293 section
 * 3.10.7.1). */
static __always_inline int reset_client(struct xdp_md *ctx, struct packet *p)
{
	__be32 acked;
	__u32 tcp_off = p->payload_off - p->options_len - sizeof(struct tcphdr);
	if (bpf_xdp_load_bytes(ctx, (tcp_off + 8) & 0xffff, &acked, sizeof(acked)))
		return XDP_DROP;
	struct flow_key back = { .sport = p->key.dport, .dport = p->key.sport };
	__builtin_memcpy(back.saddr, p->key.daddr, sizeof(back.saddr));
	__builtin_memcpy(back.daddr, p->key.saddr, sizeof(back.daddr));
	__u32 next = p->seq + p->payload_len + !!(p->tcp_flags & TCP_BIT_FIN);
	bool has_ack = p->tcp_flags & TCP_BIT_ACK;
	__u64 ack = has_ack ? 0 : 1ULL << 32 | next;
	if (write_reset(ctx, p, &back, has_ack ? bpf_ntohl(acked) : 0, ack) || swap_addresses(ctx))
		return XDP_DROP;
	return XDP_TX;
}

/* can_answer says whether an answer leaves by the interface that the packet came from. */
__noinline int can_answer(struct xdp_md *ctx)
{
	__u32 index = ctx->ingress_ifindex;
	struct interface *in = bpf_map_lookup_elem(&interfaces, &index);
	return !in || !(in->flags & INTERFACE_NO_TX);
}

/* reset enforces the verdict and returns the action: towards the server while it has a socket of this connection, so that
 * an RST that was lost comes again with the client's next segment; then towards the client. What decides finds no socket
 * behind a SYN cookie, and is dropped; so is what is left of an old connection when another has its address and port. What
 * cannot be written is dropped, which the verdict also means. */
__noinline int reset(struct xdp_md *ctx, struct packet *p)
{
	__u32 isn = 0, next = 0;
	if (!p || p->tcp_flags & TCP_BIT_RST)
		return XDP_DROP;
	bool is_decided = p->flags & PACKET_DECIDED;
	if (!socket_next(ctx, p, &isn, &next))
		return is_decided ? XDP_DROP : reset_client(ctx, p);
	return is_decided || isn == p->isn ? reset_server(ctx, p, next) : XDP_DROP;
}

#endif
