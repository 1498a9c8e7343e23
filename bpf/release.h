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

/* mark_release notes that p is the FIN of a connection that the stable generation blocks, for good: a released socket cannot
 * heal. So never in observe mode, for a candidate, in a bake, or where anybody stands above the bundle: none of these leaves
 * a drop of the stable generation that is last-known-good. A ban is no generation's. */
static __always_inline void mark_release(struct packet *p, const struct runtime *rt, const struct flow *flow)
{
	if ((p->tcp_flags & (TCP_BIT_SYN | TCP_BIT_RST | TCP_BIT_FIN)) != TCP_BIT_FIN || p->outcome != OUTCOME_DROP)
		return;
	if (p->reason == REASON_BAN || !(flow->flags & FLOW_CONFIRMED) || flow->verdict != VERDICT_DROP)
		return;
	if (flow->slot != control_stable(p->control) || flow->generation != rt->baked)
		return;
	p->isn = flow->isn;
	p->flags |= PACKET_RELEASE;
}

/* awaits_fin returns whether the socket of p's addresses and ports is that of the flow, and p's FIN lies in the window that
 * it has told. next is the number that it waits for. */
static __always_inline bool awaits_fin(struct xdp_md *ctx, const struct packet *p, __u32 *next)
{
	struct bpf_sock *sk = socket_of(ctx, p);
	if (!sk)
		return false;
	__u32 isn = 0, window = REQUEST_WINDOW;
	enum confirmation found = socket_isn(sk, &isn, next);
	struct tcp_sock *tcp = found >= CONFIRM_FRESH ? bpf_skc_to_tcp_sock(sk) : 0;
	if (tcp)
		window = tcp->rcv_wup + tcp->rcv_wnd - *next;
	bpf_sk_release(sk);
	return found != CONFIRM_NONE && isn == p->isn && p->seq + p->payload_len - *next <= window;
}

/* release makes the FIN an RST with the one number that the socket takes (RFC 5961 section 3.2): the FIN's own lies behind
 * data that was dropped. Where there is no such socket it is dropped, as everything of its flow. */
__noinline int release(struct xdp_md *ctx, struct packet *p)
{
	__u32 next = 0, zero = 0;
	if (!p || !awaits_fin(ctx, p, &next))
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
