/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* payload.h judges the data that a connection begins with, and data of connections whose beginning we did not see. It is
 * the work of a program of its own: most packets never come here, and its functions need a stack for themselves.
 *
 *   inspect_beginning
 *     ├─ a SYN with data (Fast Open) ──▶ inspect_fast_open
 *     ├─ of a flow ──▶ inspect_first: more of its ClientHello, the same again, or its true first payload
 *     └─ of none ──▶ inspect_payload
 *          ├─ begins at the ISN that somebody vouches for, plus one ──▶ judged, and the verdict is kept
 *          ├─ behind that ──▶ inspect_late: the rest of a hello that began before there was a socket, else
 *          │                  inspect_midstream: judged by its source; past its hello only a ban cuts it
 *          ├─ nobody vouches, but it begins like a ClientHello or fits a remembered SYN ──▶ judged by itself, and nothing is kept
 *          └─ else ──▶ inspect_midstream
 *
 * What holds:
 * - Before a block of what a socket knows, is_not_taken asks whether that socket would take these bytes; of what it refuses nobody
 *   is blocked and nothing is kept, told or forgotten.
 * - What is judged a second time can only get worse for the connection, by bytes that its server took.
 * - A connection is counted once, at the packet that decided it. */
#ifndef SPILLWAY_PAYLOAD_H
#define SPILLWAY_PAYLOAD_H

#include <bpf/bpf_helpers.h>

#include "accept.h"
#include "confirm.h"
#include "flow.h"
#include "hidden.h"
#include "hello.h"
#include "judge.h"
#include "over.h"
#include "remote.h"
#include "settle.h"
#include "syn.h"

/* Whether the payload begins like a ClientHello: a record that a server takes at the beginning, RFC 8446 sections 4 and 5.1. */
static __always_inline bool begins_hello(struct xdp_md *ctx, const struct packet *p)
{
	__u8 head[6];
	if (p->payload_len < sizeof(head) || bpf_xdp_load_bytes(ctx, p->payload_off & 0xffff, head, sizeof(head)))
		return false;
	__u32 len = head[3] << 8 | head[4];
	if (!is_taken(head[0], head[1]))
		return false;
	if (head[0] == TLS_HANDSHAKE)
		return !len || head[5] == TLS_CLIENT_HELLO;
	return head[0] == TLS_ALERT ? len == 2 && head[5] == TLS_ALERT_WARNING : len <= 1;
}

static __always_inline bool is_tls_service(const struct packet *p)
{
	struct service *service = service_of(p);
	return service && service->kind == KIND_TLS;
}

/* may_begin_hello says the same of a payload that may be too short to tell. */
static __always_inline bool may_begin_hello(struct xdp_md *ctx, const struct packet *p)
{
	__u8 type;
	if (p->payload_len >= 6)
		return begins_hello(ctx, p);
	return !bpf_xdp_load_bytes(ctx, p->payload_off & 0xffff, &type, sizeof(type)) &&
	       (type == TLS_HANDSHAKE || type == TLS_ALERT || type == TLS_CHANGE_CIPHER_SPEC);
}

/* label_partial names a first payload that says nothing yet; what it becomes is decided, and told, when it is whole. */
static __always_inline void label_partial(struct packet *p)
{
	if (!(p->flags & PACKET_HELLO_PARTIAL) || p->outcome != OUTCOME_PASS)
		return;
	p->flags &= ~PACKET_EVENT;
	if (p->reason == REASON_NO_MATCH || p->reason == REASON_KNOWN_FLOW)
		p->reason = p->weak_reason == REASON_NOT_TAKEN ? REASON_NOT_TAKEN : REASON_HELLO_PARTIAL;
}

/* judge_payload judges a first payload. A reset needs a connection that can be told from all others; without, it is a
 * drop. */
static __always_inline void judge_payload(struct packet *p, bool is_proven)
{
	p->stage = STAGE_PAYLOAD;
	judge(p);
	if (p->marks & MARK_LIMITED)
		hold_judged(p);
	if (p->flags & PACKET_HAS_TLS && may_store(p))
		list_shape();
	if (p->outcome == OUTCOME_RESET && !is_proven) {
		p->verdict = VERDICT_DROP;
		p->outcome = OUTCOME_DROP;
		struct workspace *ws = get_workspace();
		if (p->marks & MARK_OVER && ws)
			end_wait(p, ws);
	}
	/* Nothing matched, and that may be why. */
	bool says_why = p->weak_reason >= REASON_HELLO_ORDER && p->weak_reason <= REASON_HELLO_URGENT;
	if (p->reason == REASON_NO_MATCH && says_why)
		p->reason = p->weak_reason;
	p->flags |= PACKET_DECIDED;
}

/* decide_connection notes that p decided the connection with this ISN; one whose ClientHello goes on is decided later. */
static __always_inline void decide_connection(struct packet *p, __u32 isn)
{
	p->isn = isn;
	if (!(p->flags & PACKET_HELLO_PARTIAL) || p->outcome != OUTCOME_PASS)
		p->flags |= PACKET_CONNECTION;
}

/* inspect_midstream judges data of a connection whose start we did not see by its source alone. What a socket took in
 * before it makes it an established connection, and past its hello a ban alone cuts that: its flow may only have been
 * evicted. A connection that passes gets a flow, so that no later swap cuts it; the flow has the socket's ISN, so its true
 * first payload, or the ClientHello of which this may be the second half, will still be judged when it comes: while all
 * that the socket has taken in is held. */
static __always_inline int inspect_midstream(struct xdp_md *ctx, struct packet *p, enum confirmation confirmed,
					     __u32 isn)
{
	/* What the socket has taken in already will not come as a first payload any more. */
	bool is_begun = confirmed == CONFIRM_ESTABLISHED && !(p->flags & PACKET_HELLO_PARTIAL);
	bool is_tls = is_tls_service(p), may_hide = false;
	if (is_begun && is_tls) {
		int taken = socket_took(ctx, p, isn);
		is_begun = taken < 0 || taken > bytes_held(p, isn);
		may_hide = is_begun && taken > 0 && is_in_sight(p, p->sight);
	}
	p->stage = STAGE_PACKET;
	forget_syn(p);
	if (!p->weak_reason)
		p->weak_reason = REASON_MIDSTREAM;
	judge_as(p, p->flags & PACKET_HELLO_PARTIAL ? p->weak_reason : REASON_MIDSTREAM);
	if (is_begun)
		spare_begun(p, REASON_MIDSTREAM);
	p->hello_end = is_tls && (!is_begun || may_hide) ? HELLO_MAX : 0;
	if (confirmed == CONFIRM_NONE || is_not_taken(ctx, p))
		return p->reason;
	decide_connection(p, isn);
	if (p->verdict == VERDICT_PASS)
		keep_flow(p, isn, FLOW_CONFIRMED | (may_hide ? FLOW_GAP : is_begun ? FLOW_FIRST_PAYLOAD : 0));
	return p->reason;
}

/* inspect_late judges data of a connection that a socket knows and whose first payload we did not see: midstream, unless
 * it completes a ClientHello that began before the socket did, behind a SYN cookie, or out of order. */
static __noinline int inspect_late(struct xdp_md *ctx, struct packet *p, enum confirmation confirmed, __u32 isn)
{
	recall_first(p, isn);
	if (p->seq - isn - 1 >= HELLO_MAX ||
	    !is_tls_service(p)) /* a handshake proves nothing of what is not its first data */
		return inspect_midstream(ctx, p, confirmed == CONFIRM_REQUEST ? CONFIRM_NONE : confirmed, isn);
	p->flags |= PACKET_PROVEN;
	if (confirmed == CONFIRM_ESTABLISHED)
		p->flags |= PACKET_NOT_FIRST;
	int reason = read_hello(ctx, p, isn);
	if (!is_kept(p, reason) && reason != REASON_MIDSTREAM)
		p->sight = 0;
	if (reason && !(p->flags & PACKET_HELLO_READ))
		return inspect_midstream(ctx, p, confirmed, isn);
	p->marks |= MARK_CHARGES;
	judge_payload(p, true);
	if (is_not_taken(ctx, p))
		return p->reason;
	decide_connection(p, isn);
	keep_flow(p, isn, FLOW_CONFIRMED | FLOW_FIRST_PAYLOAD);
	return p->reason;
}

/* inspect_payload judges data that no flow answers for. */
static __noinline int inspect_payload(struct xdp_md *ctx, struct packet *p, const struct runtime *rt,
				      struct workspace *ws)
{
	__u32 isn = ws->confirmed_isn;
	bool remote = p->flags & PACKET_REMOTE;
	enum confirmation confirmed = ws->confirmed;
	bool first = confirmed && begins_at(p, isn + 1);

	/* What came before it is not known, and unless it says so itself it is not the first. */
	if (confirmed == CONFIRM_TRACKED && !(is_tls_service(p) && may_begin_hello(ctx, p)))
		return inspect_midstream(ctx, p, CONFIRM_ESTABLISHED, isn);
	/* A live connection with another ISN, or a handshake that this may complete: what a remembered SYN says is not about it,
	 * however well it fits. */
	if (confirmed != CONFIRM_NONE && !first)
		return inspect_late(ctx, p, confirmed, isn);
	if (!first)
		isn = p->seq - 1;
	bool joined = recall_first(p, isn);
	if (!joined && !first && !begins_hello(ctx, p))
		return inspect_midstream(ctx, p, CONFIRM_NONE, 0);

	/* A payload that starts early is judged all the same, but whoever guesses the ISN only nearly makes no flow. */
	bool exact = first && p->seq == isn + 1;
	if (first)
		p->flags |= PACKET_PROVEN;
	if (!remote && !exact && !p->weak_reason)
		p->weak_reason = REASON_UNCONFIRMED;
	if (is_tls_service(p) && !is_kept(p, read_hello(ctx, p, isn)))
		p->sight = 0;
	bool believed = settings.is_lab && remote && joined;
	p->marks |= exact || believed ? MARK_CHARGES : first ? MARK_PART : 0;
	/* A reset needs a socket, here. */
	judge_payload(p, exact && !ws->is_asked);
	p->isn = isn;
	if ((confirmed || p->flags & PACKET_NOT_TAKEN) && is_not_taken(ctx, p))
		return p->reason;
	if (exact || believed)
		decide_connection(p, isn);
	if (exact)
		keep_flow(p, isn, FLOW_CONFIRMED | FLOW_FIRST_PAYLOAD);
	else if (believed)
		keep_flow(p, isn, FLOW_FIRST_PAYLOAD);
	else if (p->reason == REASON_NO_MATCH)
		p->reason = REASON_UNCONFIRMED;
	if (!exact)
		disown(p);
	label_partial(p);
	return p->reason;
}

static __always_inline bool same_tls(const struct flow *flow)
{
	struct workspace *ws = get_workspace();
	if (!ws || !(flow->flags & FLOW_HAS_TLS))
		return false;
	const __u64 *a = (const __u64 *)&flow->tls, *b = (const __u64 *)&ws->tls;
	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]));
}

/* is_of says whether bytes may be read as their flow's. Of a connection that a socket knows they may: whether it takes them
 * is asked before they block. Elsewhere they have to have its numbers. */
static __always_inline bool is_of(const struct packet *p, const struct workspace *ws)
{
	return !(p->flags & PACKET_REMOTE) || settings.is_lab || ws->is_near;
}

/* inspect_first judges data at the beginning of a flow: its true first payload when the flow began midstream, the rest of
 * its ClientHello, or one of these again. What comes again with other bytes is judged again; the stronger verdict wins. */
static __noinline int inspect_first(struct xdp_md *ctx, struct packet *p, const struct runtime *rt, struct flow *flow)
{
	struct workspace *ws = get_workspace();
	if (!ws)
		return REASON_INTERNAL;
	if (flow->verdict != VERDICT_PASS || !is_of(p, ws) || !is_beginning(p, flow))
		return apply_flow(p, rt, flow);
	if (is_past(ctx, p, flow))
		return apply_flow(p, rt, flow);
	if (is_gone(ctx, p, flow))
		return inspect_gap(p, rt, flow);
	if (flow->hello_end && is_too_far(p, p->seq - flow->isn - 1))
		return apply_flow(p, rt, flow);
	__u32 isn = flow->isn;
	__u32 hello_end = flow->hello_end, was_read = flow->flags & FLOW_READ;
	bool known = flow->flags & FLOW_FIRST_PAYLOAD;
	if (flow->flags & FLOW_CONFIRMED)
		p->flags |= PACKET_PROVEN;
	if (flow->flags & FLOW_COUNTED)
		p->flags |= PACKET_COUNTED;
	if (known)
		take_facts(p, flow);
	else
		recall_first(p, isn);
	p->sight = flow->sight;
	if (!was_read && flow->held) {
		p->flags |= PACKET_WAS_HELD;
		p->held = flow->held - 1;
	}
	if (flow->hello_end || is_tls_service(p)) {
		bool is_behind = is_behind_hello(p, flow);
		int reason = read_hello(ctx, p, isn);
		extend_hello(p, flow, reason);
		note_held(p, flow, reason);
		if (is_behind && !(p->flags & PACKET_HAS_TLS))
			return apply_flow(p, rt, flow);
		/* A part that is not the first, or the same hello again: nothing new to judge. */
		bool is_later = p->weak_reason != REASON_HELLO_OVERLAP && (known || !begins_at(p, isn + 1));
		if (reason == REASON_HELLO_PARTIAL ? is_later : !reason && same_tls(flow)) {
			__u8 odd = p->weak_reason;
			p->reason = apply_flow(p, rt, flow);
			label_partial(p);
			if (odd && p->outcome == OUTCOME_PASS)
				p->reason = odd;
			return p->reason;
		}
	}
	bool exact = known || p->seq == isn + 1 || p->flags & PACKET_HELLO_READ;
	bool differs = p->weak_reason == REASON_HELLO_OVERLAP; /* also behind a gap */
	if (flow->flags & FLOW_CONFIRMED && !(flow->hint & HINT_CHARGED))
		p->marks |= exact || differs ? MARK_CHARGES : MARK_PART;
	judge_payload(p, (exact || differs) && flow->flags & FLOW_CONFIRMED && !(p->flags & PACKET_REMOTE));
	if (p->marks & MARK_SPENT && p->verdict == VERDICT_PASS)
		flow->hint |= HINT_CHARGED;
	/* What says nothing new takes no fingerprint away. */
	bool says_less = p->verdict == flow->verdict && flow->flags & FLOW_HAS_TLS && !(p->flags & PACKET_HAS_TLS);
	p->isn = isn;
	if (flow->flags & FLOW_CONFIRMED && is_not_taken(ctx, p)) {
		flow->hello_end = hello_end;
		flow->flags = (flow->flags & ~FLOW_READ) | was_read;
		return p->reason;
	}
	exact |= differs && p->verdict != VERDICT_PASS && flow->flags & FLOW_CONFIRMED;
	if (exact && p->verdict >= flow->verdict && !says_less) {
		decide_connection(p, isn);
		keep_flow(p, isn, (flow->flags & FLOW_CONFIRMED) | FLOW_FIRST_PAYLOAD);
		note_changed(p, flow);
	}
	label_partial(p);
	return p->reason;
}

/* inspect_fast_open judges a SYN that carries data (RFC 7413), the ClientHello in it included. */
static __always_inline int inspect_fast_open(struct xdp_md *ctx, struct packet *p, const struct runtime *rt)
{
	if (is_tls_service(p)) {
		p->seq += 1; /* the SYN counts as a byte */
		read_hello(ctx, p, p->seq - 1);
		p->seq -= 1;
	}
	return judge_syn(ctx, p, rt, true);
}

/* is_new says whether data that inspect_tcp took for another connection's than the flow's is. A socket has said so. Where
 * there is none, connection tracking does; where that does not, a block holds on, and what may wait behind a SYN cookie is
 * judged by itself. */
static __always_inline bool is_new(struct xdp_md *ctx, struct packet *p, const struct workspace *ws, struct flow *flow)
{
	if (!ws->is_asked || settings.is_lab)
		return ws->confirmed || flow->verdict == VERDICT_PASS;
	if (ws->confirmed == CONFIRM_NONE)
		return flow->verdict == VERDICT_PASS && !(p->flags & PACKET_REMOTE);
	if (ws->confirmed == CONFIRM_FRESH ? ws->confirmed_isn != flow->isn
					   : is_tls_service(p) && may_begin_hello(ctx, p))
		return true;
	flow->hint &= ~HINT_SYN;
	return false;
}

/* inspect_data judges data of whatever connection it is. */
static __always_inline int inspect_data(struct xdp_md *ctx, struct packet *p, const struct runtime *rt,
					struct workspace *ws)
{
	struct flow *flow = find_flow(p);
	bool is_own = flow && (p->flags & PACKET_OF_FLOW || !is_new(ctx, p, ws, flow));
	if (flow && (p->flags & PACKET_OF_FLOW || !is_own) && is_over(ctx, p))
		is_own = false;
	if (is_own)
		ws->hints = flow->hint & ~HINT_SYN;
	return is_own ? inspect_first(ctx, p, rt, flow) : inspect_payload(ctx, p, rt, ws);
}

/* inspect_beginning is what is left to do of a packet that inspect_tcp left to us. */
static __always_inline int inspect_beginning(struct xdp_md *ctx, struct packet *p, const struct runtime *rt,
					     struct workspace *ws)
{
	if (is_syn(p))
		return inspect_fast_open(ctx, p, rt);
	if (ws->is_asked)
		ws->confirmed = confirm_remote(ctx, p);
	int reason = inspect_data(ctx, p, rt, ws);
	if (p->outcome != OUTCOME_DROP)
		return reason;
	struct flow *flow =
		find_flow(p); /* the block that was just stored, or another connection's, which release() sees */
	if (flow)
		mark_release(p, rt, flow);
	return reason;
}

#endif
