/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* flow.h keeps one verdict a connection, safe against forgery: only a socket of this host makes a flow, no packet
 * deletes or relaxes one, and a swap never blocks one that passes. */
#ifndef SPILLWAY_FLOW_H
#define SPILLWAY_FLOW_H

#include <bpf/bpf_helpers.h>

#include "confirm.h"
#include "judge.h"
#include "maps.h"
#include "packet.h"
#include "syn.h"

#define TLS_HANDSHAKE 0x16
#define TLS_CLIENT_HELLO 1

static __always_inline struct flow *find_flow(const struct packet *p)
{
	struct flow *flow;
	if (p->flags & PACKET_REMOTE) {
		flow = bpf_map_lookup_elem(&flows_remote, &p->key);
		bounded(flow); /* keeps two calls: of one call with a chosen map the verifier inlines nothing, 24 ns */
	} else {
		flow = bpf_map_lookup_elem(&flows, &p->key);
	}
	return flow;
}

/* keep_flow stores the judgement. A ban is not stored: it is not the generation's, and it has an end of its own. Nor is a
 * block of a remote service: nobody can vouch for the connection, so it would be a stranger's to make; there each
 * payload is dropped by itself, and a stream whose first payload never arrives never goes on.
 * A function of its own, and keys copied to the stack: Linux 6.1 sums frames in steps of 32 bytes and takes no key from
 * the memory behind an argument. */
__noinline int keep_flow(struct packet *p, __u32 isn, __u32 flags)
{
	__u32 zero = 0;
	struct runtime *rt = bpf_map_lookup_elem(&words, &zero);
	if (!p || !rt || p->reason == REASON_BAN)
		return 0;
	if (p->flags & PACKET_REMOTE && p->verdict != VERDICT_PASS)
		return 0;
	struct flow_key key = p->key;
	struct flow f = {
		.expires_ns = p->expires_ns,
		.epoch = control_epoch(p->control),
		.isn = isn,
		/* A ban that something stood above is looked at again with every packet: that may end before the ban. */
		.ban_epoch = rt->ban_epoch - !!(p->flags & PACKET_BANNED),
		.generation = p->generation,
		.verdict = p->verdict,
		.reason = p->reason,
		.slot = p->slot,
		.flags = flags | (p->flags & PACKET_HAS_FINGERPRINT ? FLOW_HAS_FINGERPRINT : 0),
		.rule = p->rule,
		.score = p->score,
		.fingerprint = p->fingerprint,
	};
	if (p->flags & PACKET_REMOTE)
		bpf_map_update_elem(&flows_remote, &key, &f, BPF_ANY);
	else
		bpf_map_update_elem(&flows, &key, &f, BPF_ANY);
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

/* Whether the payload begins like a ClientHello: a handshake record of any TLS version, RFC 8446 sections 4 and 5.1. */
static __always_inline bool begins_hello(struct xdp_md *ctx, const struct packet *p)
{
	__u8 head[6];
	if (p->payload_len < sizeof(head) || bpf_xdp_load_bytes(ctx, p->payload_off & 0xffff, head, sizeof(head)))
		return false;
	return head[0] == TLS_HANDSHAKE && head[1] == 3 && head[5] == TLS_CLIENT_HELLO;
}

/* inspect_midstream judges data of a connection whose start we did not see by its source alone. A connection that
 * passes gets a flow, so that no later swap cuts it; the flow has the socket's ISN, so its true first payload will
 * still be judged when it comes. */
static __always_inline int inspect_midstream(struct packet *p, enum confirmation confirmed, __u32 isn)
{
	/* What the socket has taken in already will not come as a first payload any more. */
	__u8 flags = FLOW_CONFIRMED | (confirmed == CONFIRM_ESTABLISHED ? FLOW_FIRST_PAYLOAD : 0);
	p->stage = STAGE_PACKET;
	p->flags &= ~PACKET_HAS_FINGERPRINT;
	if (!p->weak_reason)
		p->weak_reason = REASON_MIDSTREAM;
	judge_as(p, REASON_MIDSTREAM);
	if (confirmed != CONFIRM_NONE && p->verdict == VERDICT_PASS)
		keep_flow(p, isn, flags);
	return p->reason;
}

/* inspect_payload judges data that no flow answers for. */
static __noinline int inspect_payload(struct xdp_md *ctx, struct packet *p, const struct runtime *rt)
{
	__u32 isn = 0;
	bool remote = p->flags & PACKET_REMOTE;
	enum confirmation confirmed = remote ? CONFIRM_NONE : confirm(ctx, p, &isn);
	bool first = confirmed && begins_at(p, isn + 1);

	/* A live connection with another ISN: what a remembered SYN says is not about it, however well it fits. */
	if (confirmed >= CONFIRM_FRESH && !first)
		return inspect_midstream(p, confirmed, isn);
	if (!first)
		isn = p->seq - 1;
	bool joined = recall_syn(p, rt, isn);
	if (!joined && !first && !begins_hello(ctx, p))
		return inspect_midstream(p, CONFIRM_NONE, 0);

	/* A payload that starts early is judged all the same, but whoever guesses the ISN only nearly makes no flow. */
	bool exact = first && p->seq == isn + 1;
	p->stage = STAGE_PAYLOAD;
	if (!remote && !exact && !p->weak_reason)
		p->weak_reason = REASON_UNCONFIRMED;
	judge(p);
	if (exact)
		keep_flow(p, isn, FLOW_CONFIRMED | FLOW_FIRST_PAYLOAD);
	else if (remote && joined)
		keep_flow(p, isn, FLOW_FIRST_PAYLOAD);
	else if (p->reason == REASON_NO_MATCH)
		p->reason = REASON_UNCONFIRMED;
	return p->reason;
}

/* inspect_first judges the payload at ISN + 1 of a flow that began midstream; the stronger verdict wins. */
static __always_inline int inspect_first(struct packet *p, const struct runtime *rt, struct flow *flow)
{
	__u32 isn = flow->isn;
	recall_syn(p, rt, isn);
	p->stage = STAGE_PAYLOAD;
	judge(p);
	if (p->seq == isn + 1 && p->verdict >= flow->verdict)
		keep_flow(p, isn, FLOW_CONFIRMED | FLOW_FIRST_PAYLOAD);
	return p->reason;
}

/* relax scores a blocked flow again. A block that the new generation would not make ends; none begins here. */
static __always_inline int relax(struct packet *p, struct flow *flow)
{
	if (flow->flags & FLOW_HAS_FINGERPRINT) {
		p->fingerprint = flow->fingerprint;
		p->flags |= PACKET_HAS_FINGERPRINT;
	}
	p->weak_reason = 0;
	judge(p);
	p->flags &= ~PACKET_EVENT;
	if (p->verdict == VERDICT_PASS) {
		if (p->reason != REASON_AGENT_LOST)
			flow->verdict = VERDICT_PASS;
	} else if (p->reason != REASON_BAN) {
		flow->expires_ns = p->expires_ns;
		flow->slot = p->slot;
		flow->generation = p->generation;
		flow->epoch = control_epoch(p->control);
	}
	return p->reason;
}

/* apply_flow enforces the stored verdict while whoever made it may enforce now. */
static __always_inline int apply_flow(struct packet *p, const struct runtime *rt, struct flow *flow)
{
	__u32 ban_epoch = rt->ban_epoch;
	if (flow->ban_epoch != ban_epoch) {
		p->now_ns = bpf_ktime_get_coarse_ns();
		if (judge_ban(p, rt)) {
			spare(p, rt);
			return p->reason;
		}
		flow->ban_epoch = ban_epoch;
	}
	if (flow->verdict == VERDICT_PASS)
		return REASON_KNOWN_FLOW;
	/* It only ends a connection, and perhaps not the blocked one: the next user of its address and port gives up. */
	if (p->tcp_flags & TCP_BIT_RST && !p->payload_len)
		return REASON_HANDSHAKE;

	p->now_ns = bpf_ktime_get_coarse_ns();
	if (flow->epoch != control_epoch(p->control) || p->now_ns >= flow->expires_ns ||
	    !may_enforce(p, rt, flow->slot, flow->generation))
		return relax(p, flow);
	p->slot = flow->slot;
	if (agent_lost(p, rt))
		return REASON_AGENT_LOST;
	p->verdict = flow->verdict;
	p->outcome = OUTCOME_DROP;
	return REASON_KNOWN_FLOW;
}

/* taken_over returns whether p belongs to a new connection on the addresses and ports of an old one. Only the socket
 * may say so for data; the bare ACK that finishes a handshake carries none, so the remembered SYN is enough for it. */
static __always_inline bool taken_over(struct xdp_md *ctx, struct packet *p, const struct runtime *rt,
				       struct flow *flow)
{
	__u32 isn = 0;
	if (!p->payload_len || p->flags & PACKET_REMOTE) {
		bool joined = p->seq != flow->isn + 1 && recall_syn(p, rt, p->seq - 1);
		/* A block begins at a SYN or a first payload: this ACK is not judged by what its SYN said. */
		p->flags &= ~PACKET_HAS_FINGERPRINT;
		return joined;
	}
	if (!confirm(ctx, p, &isn))
		return false;
	if (isn == flow->isn) {
		flow->hint = 0;
		return false;
	}
	return begins_at(p, isn + 1);
}

/* inspect_empty judges a segment without data and without a flow: the ACK of a handshake, a client that only listens, a
 * late FIN. New blocks begin at a SYN or a first payload, so what a socket knows is cut by a ban alone. */
static __always_inline int inspect_empty(struct xdp_md *ctx, struct packet *p)
{
	__u32 isn;
	judge_as(p, REASON_HANDSHAKE);
	if (p->outcome == OUTCOME_PASS || p->reason == REASON_BAN || p->flags & PACKET_REMOTE)
		return p->reason;
	if (confirm(ctx, p, &isn) == CONFIRM_NONE)
		return p->reason;
	p->flags &= ~PACKET_EVENT;
	p->verdict = VERDICT_PASS;
	p->outcome = OUTCOME_PASS;
	return REASON_HANDSHAKE;
}

static __always_inline int inspect_syn(struct xdp_md *ctx, struct packet *p, const struct runtime *rt,
				       struct flow *flow)
{
	int reason = read_syn(ctx, p);
	if (reason)
		return reason;
	p->stage = STAGE_SYN;
	judge(p);
	if (p->verdict != VERDICT_PASS)
		return p->reason;
	remember_syn(p, rt);
	if (flow)
		flow->hint = 1;
	return p->reason;
}

static __always_inline int inspect_tcp(struct xdp_md *ctx, struct packet *p, const struct runtime *rt)
{
	struct flow *flow = find_flow(p);
	if (p->flags & PACKET_PORTS_ONLY)
		return flow && flow->verdict != VERDICT_PASS ? apply_flow(p, rt, flow) : judge_as(p, p->weak_reason);
	if ((p->tcp_flags & (TCP_BIT_SYN | TCP_BIT_ACK)) == TCP_BIT_SYN)
		return inspect_syn(ctx, p, rt, flow);
	if (!flow)
		return p->payload_len ? inspect_payload(ctx, p, rt) : inspect_empty(ctx, p);
	/* The hint is missing when the new SYN came during a bypass, so data on a blocked flow always asks the socket. */
	if ((flow->hint || (flow->verdict != VERDICT_PASS && p->payload_len)) && taken_over(ctx, p, rt, flow))
		return p->payload_len ? inspect_payload(ctx, p, rt) : inspect_empty(ctx, p);
	if (!(flow->flags & FLOW_FIRST_PAYLOAD) && begins_at(p, flow->isn + 1))
		return inspect_first(p, rt, flow);
	return apply_flow(p, rt, flow);
}

#endif
