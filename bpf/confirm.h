/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* confirm.h asks this host's sockets whether a connection is real. */
#ifndef SPILLWAY_CONFIRM_H
#define SPILLWAY_CONFIRM_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "kernel.h"
#include "maps.h"
#include "packet.h"
#include "source.h"

enum confirmation {
	CONFIRM_NONE = 0,        /* no socket: forged, or the handshake rests in a SYN cookie */
	CONFIRM_REQUEST = 1,     /* a handshake in progress */
	CONFIRM_FRESH = 2,       /* a connection that has received nothing */
	CONFIRM_ESTABLISHED = 3, /* a connection */
	CONFIRM_TRACKED = 4,     /* one that no socket knows, and this packet is the next of it: its ISN is not known */
};

#define READ_ATTEMPTS 3
#define SOCKET_LISTEN 10 /* BPF_TCP_LISTEN; a listener vouches for nobody */

/* read_received leaves rcv_nxt and what the socket has received, of one moment: another CPU may be taking data in, and writes one
 * after the other. False where two looks never agree. */
static __always_inline bool read_received(struct tcp_sock *tcp, __u32 *next, __u64 *received)
{
	volatile struct tcp_sock *t = tcp;
	for (int i = 0; i < READ_ATTEMPTS; i++) {
		*received = t->bytes_received;
		*next = t->rcv_nxt;
		if (t->bytes_received == *received && t->rcv_nxt == *next)
			return true;
	}
	return false;
}

/* socket_isn reads the peer's initial sequence number, and the one that the socket waits for. An established socket does not keep
 * the first, but counts what it received: RFC 4898 tcpEStatsAppHCThruOctetsReceived is the sum of all advances of rcv_nxt. */
static __always_inline enum confirmation socket_isn(struct bpf_sock *sk, __u32 *isn, __u32 *next)
{
	struct tcp_request_sock *request = bpf_skc_to_tcp_request_sock(sk);
	if (request) {
		*isn = request->rcv_isn;
		*next = *isn + 1;
		return CONFIRM_REQUEST;
	}
	if (sk->state == SOCKET_LISTEN)
		return CONFIRM_NONE;
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	__u64 received;
	if (!tcp || !read_received(tcp, next, &received))
		return CONFIRM_NONE;
	*isn = *next - (__u32)received - 1;
	return received ? CONFIRM_ESTABLISHED : CONFIRM_FRESH;
}

/* fill_tuple writes p's addresses and ports, and returns the tuple's size. */
static __always_inline __u32 fill_tuple(struct bpf_sock_tuple *tuple, const struct packet *p)
{
	if (is_ipv4(p->key.saddr)) {
		tuple->ipv4.saddr = p->key.saddr[3];
		tuple->ipv4.daddr = p->key.daddr[3];
		tuple->ipv4.sport = p->key.sport;
		tuple->ipv4.dport = p->key.dport;
		return sizeof(tuple->ipv4);
	}
	__builtin_memcpy(tuple->ipv6.saddr, p->key.saddr, sizeof(tuple->ipv6.saddr));
	__builtin_memcpy(tuple->ipv6.daddr, p->key.daddr, sizeof(tuple->ipv6.daddr));
	tuple->ipv6.sport = p->key.sport;
	tuple->ipv6.dport = p->key.dport;
	return sizeof(tuple->ipv6);
}

/* socket_by looks up a socket; the caller releases it. Whoever has a deep stack fills the tuple of the workspace. */
static __always_inline struct bpf_sock *socket_by(struct xdp_md *ctx, struct bpf_sock_tuple *tuple, __u32 size)
{
	return bpf_skc_lookup_tcp(ctx, tuple, size, BPF_F_CURRENT_NETNS, 0);
}

/* socket_of looks up the socket that p's addresses and ports belong to; the caller releases it. */
static __always_inline struct bpf_sock *socket_of(struct xdp_md *ctx, const struct packet *p)
{
	struct bpf_sock_tuple tuple = {};
	return socket_by(ctx, &tuple, fill_tuple(&tuple, p));
}

/* confirm leaves the ISN of the socket that p's addresses and ports belong to. */
static __always_inline enum confirmation confirm(struct xdp_md *ctx, const struct packet *p, __u32 *isn)
{
	struct bpf_sock *sk = socket_of(ctx, p);
	if (!sk)
		return CONFIRM_NONE;
	__u32 next;
	enum confirmation found = socket_isn(sk, isn, &next);
	bpf_sk_release(sk);
	return found;
}

/* note_pointer leaves the urgent pointer of the packet's socket in the workspace: it may have come without data. */
static __always_inline void note_pointer(struct segment *s, struct tcp_sock *tcp)
{
	s->is_urgent = tcp->urg_data;
	s->urgent = tcp->urg_seq;
}

/* find_confirmed is confirm for the packet at work: with the tuple of the workspace, and the answer there. */
static __always_inline void find_confirmed(struct xdp_md *ctx, struct workspace *ws)
{
	struct bpf_sock *sk = socket_by(ctx, &ws->tuple, fill_tuple(&ws->tuple, &ws->packet));
	__u32 next;
	ws->confirmed = CONFIRM_NONE;
	if (!sk)
		return;
	ws->confirmed = socket_isn(sk, &ws->confirmed_isn, &next);
	struct tcp_sock *tcp = ws->confirmed == CONFIRM_FRESH ? bpf_skc_to_tcp_sock(sk) : 0;
	if (tcp)
		note_pointer(&ws->segment, tcp);
	bpf_sk_release(sk);
}

/* socket_next leaves the ISN of the socket of p's connection and the sequence number that it waits for; false where there
 * is none. */
static __always_inline bool socket_next(struct xdp_md *ctx, const struct packet *p, __u32 *isn, __u32 *next)
{
	struct workspace *ws = get_workspace();
	struct bpf_sock *sk = ws ? socket_by(ctx, &ws->tuple, fill_tuple(&ws->tuple, p)) : 0;
	if (!sk)
		return false;
	enum confirmation found = socket_isn(sk, isn, next);
	bpf_sk_release(sk);
	return found != CONFIRM_NONE;
}

/* Of enum BPF_TCP_*: the client has ended its stream, and its FIN counts as a byte. */
#define ENDED_STATES (1U << 8 | 1U << 9 | 1U << 11) /* CLOSE_WAIT, LAST_ACK, CLOSING */

/* socket_took returns how many bytes of the connection with this ISN the socket has taken in, HELLO_MAX for more; negative
 * where nobody can say: there is no socket, or one of another connection. */
__noinline int socket_took(struct xdp_md *ctx, struct packet *p, __u32 isn)
{
	__u32 its_isn = 0, next = 0;
	struct bpf_sock *sk = p && !(p->flags & PACKET_REMOTE) ? socket_of(ctx, p) : 0;
	if (!sk)
		return -1;
	enum confirmation found = socket_isn(sk, &its_isn, &next);
	barrier(); /* the state afterwards: a FIN that is being taken in shows there */
	if (found >= CONFIRM_FRESH)
		next -= ENDED_STATES >> (sk->state & 31) & 1;
	bpf_sk_release(sk);
	if (found == CONFIRM_NONE || its_isn != isn)
		return -1;
	__u32 taken = next - isn - 1;
	return taken < HELLO_MAX ? taken : HELLO_MAX;
}

#endif
