/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* flow.h keeps one verdict a connection, and sends each TCP packet where it is judged.
 *
 *   SYN ───────────────▶ judge_syn: blocked by itself, or remembered (syn.h)
 *   no flow, no data ──▶ inspect_empty: judged by its source
 *   no flow, data ─────▶ payload.h, as of a new connection
 *   flow ──┬─ data, passes so far, its beginning is not read ──▶ payload.h, as of this flow
 *          ├─ a socket or a remembered SYN says: another connection ──▶ as without a flow
 *          └─ else ──▶ apply_flow
 *
 * A flow begins in payload.h (keep_flow) and lives as long as the LRU lets it:
 *
 *             first payload judged           more of its beginning is read           what blocks ends, or expires (relax)
 *   (none) ──────────────────────▶ PASS ─────────────────────────────────▶ DROP, RESET ──────────────────────────────▶ PASS
 *                      └───────────────────────────────────────────────────────▲
 *
 * What holds:
 * - Only a connection that somebody vouches for (a socket, connection tracking, an answer that left) makes a flow that blocks.
 * - No packet deletes a flow, and none relaxes it: what ends a block is the clock, the control word, a vouch or a ban's end.
 * - A flow that passes is never blocked by a swap. A ban cuts it, for as long as the ban lasts.
 * - A flow is of one ISN. When its addresses and ports are used again the socket's ISN says so, or the SYN that was remembered.
 * - Where a flow is not known any more, a connection that a socket calls established is cut by a ban alone. */
#ifndef SPILLWAY_FLOW_H
#define SPILLWAY_FLOW_H

#include <bpf/bpf_helpers.h>

#include "confirm.h"
#include "judge.h"
#include "maps.h"
#include "name.h"
#include "packet.h"
#include "release.h"
#include "sight.h"
#include "syn.h"

static __always_inline struct flow *find_flow(const struct packet *p)
{
	struct flow_name name __attribute__((aligned(8)));
	name_flow(&name, &p->key);
	return bpf_map_lookup_elem(&flows, &name);
}

/* hints_of returns what a flow keeps of tags and limits: that it is over one is said of what is blocked alone. */
static __always_inline __u8 hints_of(const struct packet *p)
{
	return (p->marks & MARK_TAGGED ? HINT_TAGGED : 0) | (p->marks & MARK_SPENT ? HINT_CHARGED : 0) |
	       (p->marks & MARK_OVER && p->verdict != VERDICT_PASS ? HINT_OVER : 0);
}

/* end_block takes a flow's block back. */
static __always_inline void end_block(struct flow *flow)
{
	flow->hint = (flow->hint & ~HINT_OVER) | HINT_HEALED;
	flow->verdict = VERDICT_PASS;
}

/* keep_flow stores the judgement. A ban is not stored: it is not the generation's, and it has an end of its own. Nor is a
 * block of what nobody vouches for, or not wholly: it would be a stranger's to make, so each payload is dropped by itself.
 * The flow is put together in the workspace, not on the stack: frames may sum up to 512 bytes. */
__noinline int keep_flow(struct packet *p, __u32 isn, __u32 flags)
{
	struct runtime *rt = get_words();
	struct workspace *ws = get_workspace();
	if (!p || !rt || !ws || p->reason == REASON_BAN)
		return 0;
	if (p->verdict != VERDICT_PASS && (!(flags & FLOW_CONFIRMED) || ws->is_doubted))
		return 0;
	struct flow_name name __attribute__((aligned(8)));
	name_flow(&name, &p->key);
	struct flow *f = &ws->flow;
	__builtin_memset(f, 0, sizeof(*f));
	f->expires_ns = p->expires_ns;
	f->epoch = control_epoch(p->control);
	f->isn = isn;
	/* A ban that something stood above is looked at again with every packet: that may end before the ban. */
	f->ban_epoch = rt->ban_epoch - !!(p->flags & PACKET_BANNED);
	f->generation = p->generation;
	f->verdict = p->verdict;
	f->reason = p->reason;
	f->slot = p->slot;
	f->flags = flags;
	f->rule = p->rule;
	f->score = p->score;
	f->hello_end = p->hello_end;
	f->sight = p->sight;
	if (p->flags & (PACKET_HELLO_PARTIAL | PACKET_WAS_HELD))
		f->held = p->held + 1;
	f->facts = p->facts;
	__builtin_memcpy(f->saddr, p->key.saddr, sizeof(f->saddr));
	__builtin_memcpy(f->daddr, p->key.daddr, sizeof(f->daddr));
	if (flags & FLOW_CONFIRMED)
		f->hint = (ws->hints & ~HINT_OVER) | hints_of(p) | (p->tcp_flags & TCP_BIT_FIN ? HINT_END : 0);
	if (p->flags & (PACKET_CONNECTION | PACKET_COUNTED))
		f->flags |= FLOW_COUNTED;
	if (p->flags & PACKET_HELLO_READ)
		f->flags |= FLOW_READ;
	if (p->flags & PACKET_HAS_FINGERPRINT) {
		f->flags |= FLOW_HAS_FINGERPRINT;
		f->fingerprint = p->fingerprint;
	}
	if (p->flags & (PACKET_HAS_TLS | PACKET_HAS_HEAD)) {
		f->flags |= p->flags & PACKET_HAS_TLS ? FLOW_HAS_TLS : 0;
		f->tls = ws->tls;
	}
	if (!(p->flags & PACKET_OF_FLOW)) {
		if (!bpf_map_update_elem(&flows, &name, f, BPF_NOEXIST))
			return 0;
		struct flow *other = bpf_map_lookup_elem(&flows, &name);
		if (other && other->isn == isn)
			f->sight = 0; /* another processor has data of this beginning, too */
	}
	bpf_map_update_elem(&flows, &name, f, BPF_ANY);
	return 0;
}

/* judge_as judges p by itself; where nothing matched, label says what kind of packet passed. */
static __always_inline int judge_as(struct packet *p, enum reason label)
{
	judge(p);
	if (p->reason == REASON_NO_MATCH)
		p->reason = label;
	if (p->outcome == OUTCOME_PASS)
		p->flags &= ~PACKET_EVENT;
	return p->reason;
}

/* take_facts gives p what the flow knows of its connection. */
static __always_inline void take_facts(struct packet *p, const struct flow *flow)
{
	p->facts = flow->facts;
	if (flow->flags & FLOW_HAS_FINGERPRINT) {
		p->fingerprint = flow->fingerprint;
		p->flags |= PACKET_HAS_FINGERPRINT;
	}
}

/* relax scores a blocked flow again. A block that the new generation would not make ends; none begins here. */
static __always_inline int relax(struct packet *p, struct flow *flow)
{
	struct workspace *ws = get_workspace();
	bool is_own = p->flags & PACKET_AT_WORK;
	if (!ws || (!is_own && !take_workspace(ws)))
		return REASON_HELLO_BUSY;
	take_facts(p, flow);
	if (flow->flags & FLOW_HAS_TLS || flow->tls.is_head) {
		ws->tls = flow->tls;
		p->flags |= flow->tls.is_head ? PACKET_HAS_HEAD : PACKET_HAS_TLS;
	}
	p->weak_reason = 0;
	if (is_askable(flow->reason)) /* it speaks on against the connection */
		p->weak_reason = flow->reason;
	/* Whoever made the block goes on to decide on it; and none begins here, so nobody compares it. */
	p->flags |= flow->flags & FLOW_CONFIRMED ? PACKET_PROVEN : 0;
	/* Until now it was over its limit, or no limit was asked. That is said of the flow, whoever sent the packet. */
	if (flow->flags & FLOW_CONFIRMED && (flow->hint & (HINT_OVER | HINT_CHARGED)) != HINT_CHARGED)
		p->marks |= MARK_CHARGES;
	ws->is_doubted = 0;
	if (!is_own)
		ws->limited_count = 0;
	judge(p);
	if (p->marks & MARK_LIMITED)
		hold_judged(p);
	p->flags &= ~(PACKET_EVENT | PACKET_UNDECLARED);
	if (!is_own)
		leave_workspace(ws);
	if (p->verdict == VERDICT_PASS) {
		if (p->reason != REASON_AGENT_LOST) {
			flow->hint |= hints_of(p);
			end_block(flow);
		}
	} else if (p->reason != REASON_BAN) {
		if (flow->verdict == VERDICT_RESET && p->outcome == OUTCOME_DROP)
			p->outcome = OUTCOME_RESET; /* its socket is gone: nothing of it passes any more */
		p->isn = flow->isn;
		if (flow->verdict != VERDICT_RESET || !(p->marks & MARK_OVER)) /* no room brings a socket back */
			flow->expires_ns = p->expires_ns;
		flow->slot = p->slot;
		flow->generation = p->generation;
		flow->epoch = control_epoch(p->control);
		flow->rule = p->rule;
		flow->score = p->score;
		flow->reason = is_askable(flow->reason) ? flow->reason : p->reason;
		flow->hint = (flow->hint & ~HINT_OVER) | hints_of(p);
	}
	return p->reason;
}

/* apply_flow enforces the stored verdict while whoever made it may enforce now. */
static __always_inline int apply_flow(struct packet *p, const struct runtime *rt, struct flow *flow)
{
	__u32 ban_epoch = rt->ban_epoch;
	if (flow->ban_epoch != ban_epoch) {
		p->now_ns = clock_ns();
		if (judge_ban(p, rt)) {
			spare(p);
			if (p->outcome != OUTCOME_PASS && !(flow->flags & FLOW_CUT)) {
				flow->flags |= FLOW_CUT;
				p->flags |= PACKET_CONNECTION;
				p->isn = flow->isn;
			}
			return p->reason;
		}
		flow->ban_epoch = ban_epoch;
	}
	if (flow->verdict == VERDICT_PASS)
		return REASON_KNOWN_FLOW;
	/* It only ends a connection, and perhaps not the blocked one: the next user of its address and port gives up. */
	if (p->tcp_flags & TCP_BIT_RST && !p->payload_len)
		return REASON_HANDSHAKE;

	p->now_ns = clock_ns();
	/* Where it waits for room, what it sent first brings it through, and no ACK that anybody could send. */
	bool is_ended = p->now_ns >= flow->expires_ns && (p->payload_len || !(flow->hint & HINT_OVER));
	if (flow->epoch != control_epoch(p->control) || is_ended || !may_enforce(p, rt, flow->slot, flow->generation) ||
	    is_vouched(p, rt))
		return relax(p, flow);
	p->slot = flow->slot;
	if (agent_lost(p, host_in_force(p)))
		return REASON_AGENT_LOST;
	p->verdict = flow->verdict;
	p->outcome = flow->verdict == VERDICT_RESET ? OUTCOME_RESET : OUTCOME_DROP;
	p->isn = flow->isn;
	p->marks |= flow->hint & HINT_OVER ? MARK_OVER : 0;
	p->rule = flow->rule;
	p->score = flow->score;
	p->generation = flow->generation;
	p->reason = flow->reason; /* what decided goes on to say why */
	return p->reason;
}

/* begins_again says whether a socket is that of another connection than the flow's, though it has the same ISN: the flow is settled,
 * so its socket had taken something in, and this one has not. */
static __always_inline bool begins_again(const struct flow *flow, enum confirmation found)
{
	return found == CONFIRM_FRESH && flow->verdict == VERDICT_PASS && flow->flags & FLOW_READ && !flow->hello_end;
}

/* taken_over returns whether p belongs to a new connection on the addresses and ports of an old one, or may. Only the socket
 * may say so for data, and for whatever a reset would answer; else the bare ACK that finishes a handshake carries none,
 * so the remembered SYN is enough for it. Where no socket is, the next program asks who else knows: data after a SYN may be
 * what a SYN cookie waits for, too. */
static __always_inline bool taken_over(struct xdp_md *ctx, struct packet *p, const struct runtime *rt,
				       struct flow *flow)
{
	__u32 isn = 0;
	if (p->flags & PACKET_REMOTE && p->payload_len && flow->hint & HINT_SYN && !settings.is_lab)
		return true;
	if ((!p->payload_len && flow->verdict != VERDICT_RESET) || p->flags & PACKET_REMOTE) {
		bool joined = p->seq != flow->isn + 1 && recall_syn(p, rt, p->seq - 1);
		/* A block begins at a SYN or a first payload: this ACK is not judged by what its SYN said. */
		forget_syn(p);
		return joined;
	}
	enum confirmation found = confirm(ctx, p, &isn);
	if (!found)
		return flow->verdict == VERDICT_PASS || (flow->hint & HINT_SYN && p->payload_len);
	if (isn == flow->isn) {
		flow->hint &= ~HINT_SYN;
		return begins_again(flow, found);
	}
	return flow->verdict == VERDICT_PASS || !p->payload_len || begins_at(p, isn + 1);
}

/* spare_begun lets a packet of a connection pass that began before it: new blocks begin at a SYN or a first payload, and a
 * ban alone cuts what is on its way. */
static __always_inline void spare_begun(struct packet *p, enum reason label)
{
	if (p->outcome == OUTCOME_PASS || p->reason == REASON_BAN)
		return;
	p->flags &= ~PACKET_EVENT;
	p->verdict = VERDICT_PASS;
	p->outcome = OUTCOME_PASS;
	p->reason = label;
}

/* inspect_empty judges a segment without data and without a flow: the ACK of a handshake, a client that only listens, a
 * late FIN. New blocks begin at a SYN or a first payload, so what a socket knows is cut by a ban alone. */
static __always_inline int inspect_empty(struct xdp_md *ctx, struct packet *p)
{
	__u32 isn;
	judge_as(p, REASON_HANDSHAKE);
	if (p->outcome == OUTCOME_PASS || p->flags & PACKET_REMOTE)
		return p->reason;
	if (confirm(ctx, p, &isn) != CONFIRM_NONE)
		spare_begun(p, REASON_HANDSHAKE);
	return p->reason;
}

/* has_socket says whether a socket of p's addresses and ports is past its handshake, or in that of another SYN. */
__noinline int has_socket(struct xdp_md *ctx, struct packet *p)
{
	struct bpf_sock *sk = p ? socket_of(ctx, p) : 0;
	if (!sk)
		return 0;
	struct tcp_request_sock *request = bpf_skc_to_tcp_request_sock(sk);
	int has = request ? request->rcv_isn != p->seq : sk->state != SOCKET_LISTEN && bpf_skc_to_tcp_sock(sk);
	bpf_sk_release(sk);
	return has;
}

/* syn_sight returns the sight of the connection that p, a SYN, begins. A SYN with data may have it taken in before its flow is
 * made, and one that comes late, or again, begins nothing. Where no policy asks for it nobody looks. */
static __always_inline __u32 syn_sight(struct xdp_md *ctx, struct packet *p, const struct runtime *rt)
{
	if (!(p->flags & PACKET_ASKED) || p->payload_len || p->flags & PACKET_REMOTE || has_socket(ctx, p))
		return 0;
	return sight_now(p, rt);
}

/* judge_syn decides a SYN by itself and remembers what it said. One without data asks no limit: it is no connection yet. */
static __always_inline int judge_syn(struct xdp_md *ctx, struct packet *p, const struct runtime *rt, bool has_data)
{
	p->stage = STAGE_SYN;
	judge(p);
	if (has_data && p->marks & MARK_LIMITED)
		hold_judged(p);
	if (p->verdict == VERDICT_PASS)
		remember_syn(p, rt, syn_sight(ctx, p, rt));
	return p->reason;
}

static __always_inline int inspect_syn(struct xdp_md *ctx, struct packet *p, const struct runtime *rt)
{
	int reason = read_syn(ctx, p);
	if (reason)
		return reason;
	if (p->payload_len)
		return NEXT_PROGRAM; /* Fast Open: it may be a ClientHello */
	return judge_syn(ctx, p, rt, false);
}

/* is_beginning says whether p may carry bytes of the flow's ClientHello, or its first payload where that was not seen yet.
 * Until a flow is settled its socket says which data is past the hello (settle.h); where there is no socket, the hello's
 * own length does. */
static __always_inline bool is_beginning(const struct packet *p, const struct flow *flow)
{
	__u32 at = p->seq - flow->isn - 1;
	if (flow->hello_end && (!(p->flags & PACKET_REMOTE) || at < flow->hello_end))
		return true;
	return (flow->hello_end || !(flow->flags & FLOW_FIRST_PAYLOAD)) && -at < p->payload_len;
}

/* inspect_tcp leaves to the next program, by NEXT_PROGRAM, what may be a first payload: with PACKET_OF_FLOW of the
 * connection that it knows, without of a new one. */
static __always_inline int inspect_tcp(struct xdp_md *ctx, struct packet *p, const struct runtime *rt)
{
	int reason;
	struct flow *flow = find_flow(p);
	if (p->flags & PACKET_FRAGMENT) {
		bool is_cut = may_cut(p); /* no byte of it is read, so nothing is kept */
		if (is_cut) {
			p->flags |= PACKET_CUT;
			judge_as(p, REASON_FRAGMENT);
		}
		note_unread(p, rt); /* nor is what follows in other fragments */
		if (is_cut)
			return p->reason;
	}
	/* From here on each packet of the flow asks whose it is: what has only ports may be a SYN too. */
	if (flow && (p->flags & PACKET_PORTS_ONLY || is_syn(p)))
		flow->hint |= HINT_SYN;
	if (p->flags & PACKET_PORTS_ONLY)
		return flow && flow->verdict != VERDICT_PASS ? apply_flow(p, rt, flow) : judge_as(p, p->weak_reason);
	if (is_syn(p))
		return inspect_syn(ctx, p, rt);
	if (!flow)
		return p->payload_len ? NEXT_PROGRAM : inspect_empty(ctx, p);
	if (flow->hint & HINT_NO_SOCKET)
		p->flags |= PACKET_REMOTE;
	/* The hint is missing when the new SYN came during a bypass, so data on a blocked flow always asks the socket. */
	bool had_socket = flow->flags & FLOW_CONFIRMED && !(p->flags & PACKET_REMOTE);
	bool is_ended = had_socket && flow->hint & HINT_END;
	bool may_be_other = p->payload_len && (is_ended || flow->verdict != VERDICT_PASS);
	if (p->tcp_flags & (TCP_BIT_FIN | TCP_BIT_RST) && had_socket) {
		flow->hint |= HINT_END;
		p->flags |= p->tcp_flags & TCP_BIT_RST && !p->payload_len ? PACKET_OF_FLOW : 0;
	}
	if ((flow->hint & HINT_SYN || flow->verdict == VERDICT_RESET || may_be_other) && taken_over(ctx, p, rt, flow))
		return p->payload_len ? NEXT_PROGRAM : inspect_empty(ctx, p);
	if (p->payload_len && flow->verdict == VERDICT_PASS && is_beginning(p, flow)) {
		p->flags |= PACKET_OF_FLOW;
		return NEXT_PROGRAM;
	}
	reason = apply_flow(p, rt, flow);
	mark_release(p, rt, flow);
	return reason;
}

#endif
