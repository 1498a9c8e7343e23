/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* release.h frees the server's socket of a blocked connection. Its first payload never arrives, and neither would its FIN,
 * so the server would wait for as long as its own timeouts are. */
#ifndef SPILLWAY_RELEASE_H
#define SPILLWAY_RELEASE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "confirm.h"
#include "packet.h"
#include "reset.h"

/* What a request socket offers at the most before windows scale (RFC 9293 section 3.1). */
#define REQUEST_WINDOW 65535

/* mark_release notes that p may end a connection that the stable generation blocks, for good: a released socket cannot
 * heal. So never in observe mode, for a candidate, in a bake, or where anybody stands above the bundle: none of these leaves
 * a drop of the stable generation that is last-known-good. A ban is no generation's. */
static __always_inline void mark_release(struct packet *p, const struct runtime *rt, const struct flow *flow)
{
	bool is_end = p->tcp_flags & TCP_BIT_FIN || p->payload_len; /* data may come behind a FIN, see holds_fin() */
	if (p->tcp_flags & (TCP_BIT_SYN | TCP_BIT_RST) || !is_end || p->outcome != OUTCOME_DROP)
		return;
	if (p->reason == REASON_BAN || !(flow->flags & FLOW_CONFIRMED) || flow->verdict != VERDICT_DROP)
		return;
	if (flow->slot != control_stable(p->control) || flow->generation != rt->baked)
		return;
	p->isn = flow->isn;
	p->flags |= PACKET_RELEASE;
}

/* holds_fin says whether a FIN waits at the socket for the data in front of it. It passed before its connection was blocked:
 * on another processor, or while the lookup found no socket because the handshake's ACK was just making it (Linux takes the
 * request out of its table before it puts the connection in). The socket has told the client that it has the FIN (RFC 2018), so
 * the data comes again, and the FIN does not. */
static __always_inline bool holds_fin(struct tcp_sock *tcp)
{
	if (!bpf_core_field_exists(struct tcp_skb_cb, tcp_flags) || !tcp->out_of_order_queue.rb_node)
		return false;
	struct sk_buff *last = tcp->ooo_last_skb;
	__u32 at = bpf_core_field_offset(struct tcp_skb_cb, tcp_flags);
	return last && at < sizeof(last->cb) && last->cb[at] & TCP_BIT_FIN;
}

/* awaits_end returns whether the socket of p's addresses and ports is that of the flow, p lies in the window that it has
 * told, and its client has ended the connection. next is the number that it waits for. */
static __always_inline bool awaits_end(struct xdp_md *ctx, const struct packet *p, __u32 *next)
{
	struct bpf_sock *sk = socket_of(ctx, p);
	if (!sk)
		return false;
	__u32 isn = 0, window = REQUEST_WINDOW;
	enum confirmation found = socket_isn(sk, &isn, next);
	struct tcp_sock *tcp = found >= CONFIRM_FRESH ? bpf_skc_to_tcp_sock(sk) : 0;
	bool has_fin = p->tcp_flags & TCP_BIT_FIN;
	if (tcp) {
		window = tcp->rcv_wup + tcp->rcv_wnd - *next;
		has_fin = has_fin || holds_fin(tcp);
	}
	bpf_sk_release(sk);
	return has_fin && found != CONFIRM_NONE && isn == p->isn && p->seq + p->payload_len - *next <= window;
}

/* release makes p an RST with the one number that the socket takes (RFC 5961 section 3.2): a FIN's own lies behind data
 * that was dropped. Where there is no such socket it is dropped, as everything of its flow. */
__noinline int release(struct xdp_md *ctx, struct packet *p)
{
	__u32 next = 0, zero = 0;
	if (!p || !awaits_end(ctx, p, &next))
		return XDP_DROP;
	struct flow_key key = p->key;
	if (write_reset(ctx, p, &key, next, 0))
		return XDP_DROP;
	__u64 *released = bpf_map_lookup_elem(&releases, &zero);
	if (released)
		*released += 1;
	return XDP_PASS;
}

#endif
