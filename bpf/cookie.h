/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* cookie.h asks a listener for the ACK of a SYN cookie (tcp_v4_cookie_check, cookie_v6_check of net/ipv4 and net/ipv6). A cookie is
 * made of the client's ISN, so only a segment whose data begins the connection has it: of that one the listener makes the
 * socket, and takes its data. What comes before is nobody's. */
#ifndef SPILLWAY_COOKIE_H
#define SPILLWAY_COOKIE_H

#include <linux/bpf.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_helpers.h>

#include "accept.h"

/* fill_headers writes what a cookie is made of, and says whether it is IPv4. */
static __always_inline bool fill_headers(struct cookie_headers *h, const struct packet *p, const struct segment *s)
{
	struct iphdr *ip4 = (void *)h->ip;
	struct ipv6hdr *ip6 = (void *)h->ip;
	__builtin_memset(h->ip, 0, sizeof(h->ip));
	__builtin_memcpy(h->tcp, s->bytes, sizeof(h->tcp));
	if (is_ipv4(p->key.saddr)) {
		ip4->version = 4;
		ip4->saddr = p->key.saddr[3];
		ip4->daddr = p->key.daddr[3];
		return true;
	}
	ip6->version = 6;
	__builtin_memcpy(&ip6->saddr, p->key.saddr, sizeof(ip6->saddr));
	__builtin_memcpy(&ip6->daddr, p->key.daddr, sizeof(ip6->daddr));
	return false;
}

/* is_ignored says whether p, data of no connection that is known, comes to a listener that makes none of it. */
__noinline int is_ignored(struct xdp_md *ctx, struct packet *p)
{
	struct workspace *ws = get_workspace();
	if (!p || !ws || p->flags & PACKET_REMOTE || is_syn(p) || read_segment(ctx, p))
		return 0;
	struct bpf_sock *sk = find_socket(ctx, p, true);
	if (!sk)
		return 0;
	int answer = 0;
	struct tcp_sock *tcp = sk->state == SOCKET_LISTEN ? bpf_skc_to_tcp_sock(sk) : 0;
	if (tcp && accept_keys(&ws->segment, tcp) == REFUSED) {
		answer = -1;
	} else if (tcp) {
		struct cookie_headers *h = &ws->headers;
		__u32 size = fill_headers(h, p, &ws->segment) ? sizeof(struct iphdr) : sizeof(h->ip);
		answer = bpf_tcp_check_syncookie(sk, h->ip, size, (struct tcphdr *)h->tcp, sizeof(h->tcp));
	}
	bpf_sk_release(sk);
	return answer < 0;
}

#endif
