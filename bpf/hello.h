/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* hello.h gathers the first bytes that a client sends until they hold a whole ClientHello: over several segments, in
 * whatever pieces, and over several TLS records.
 *
 * A hello that is whole in one segment and one record is read in the workspace. Every other one has a place (place.h), where
 * its pieces come together (pieces.h, urgent.h) and its records (record.h), until it is decided:
 *
 *   segment ── whole ─────────────────────────────────────────▶ read_body ──▶ find_shape, if new: list_body, make_shape
 *      └─ part ──▶ may_hold? ──▶ place ──▶ pieces ──▶ records ──▶ the same; after list_body the place is given back
 *                     └─ no: not_taken        └─ a gap, or not all: hello_partial, and the place is kept
 *
 * What holds:
 * - Of bytes that come twice those count that the server takes: beyond rcv_nxt the first that came, as in Linux's queue.
 * - A place is locked while its bytes are in use; who cannot have it in time says hello_busy.
 * - Every way to no JA4 has a reason of its own (types.h). Some are strong where the host file or the policy says so; a reason that
 *   a network or we can make never is. */
#ifndef SPILLWAY_HELLO_H
#define SPILLWAY_HELLO_H

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "accept.h"
#include "checksum.h"
#include "clienthello.h"
#include "cookie.h"
#include "ja4.h"
#include "pieces.h"
#include "place.h"
#include "proxy.h"
#include "record.h"
#include "urgent.h"

/* may_hold says whether a segment's bytes may be kept: those that a socket refuses are not what its server will read. One that is
 * in doubt is not kept either; if the socket takes it all the same, it has taken what is not held, and that shows. */
static __always_inline bool may_hold(struct xdp_md *ctx, struct packet *p)
{
	if (!(p->flags & PACKET_PROVEN))
		return check_segment(ctx, p) != CHECKSUM_WRONG && !is_ignored(ctx, p);
	int answer = accept_segment(ctx, p);
	if (answer == DOUBTED)
		p->flags |= PACKET_UNSEEN;
	return answer != REFUSED && answer != DOUBTED;
}

/* hold_piece adds a piece to the hello of p's connection, and leaves it locked while its bytes are in use. */
static __always_inline int hold_piece(struct xdp_md *ctx, struct packet *p, struct workspace *ws, __u32 isn,
				      __u64 piece)
{
	if (!may_hold(ctx, p))
		return REASON_NOT_TAKEN;
	int reason = lock_hello(p, isn, !(piece >> 16 & 0xffff));
	if (reason)
		return reason;
	struct hello *h = bpf_map_lookup_elem(&hellos, &ws->hello_index);
	if (!h)
		return REASON_INTERNAL;
	ws->held_before = bytes_read(h);
	p->flags |= PACKET_JOINED;
	if (p->tcp_flags & TCP_BIT_URG || ws->segment.is_urgent)
		reason = note_urgent(ctx, p, h, isn);
	if (!reason)
		reason = add_around(ctx, p, h, piece);
	p->held = bytes_read(h);
	if (reason)
		return reason;
	if (expects_proxy(p)) {
		if ((reason = step_over_proxy(h)))
			return reason;
	} else if (!h->flat_records) {
		reason = find_body((struct stream *)h->bytes, h->len);
		if (reason || !ws->hello_is_split)
			return reason;
	}
	return flatten(p, h);
}

/* counts_before says whether something counts before a segment that begins where the connection does: what is held of its hello, or
 * what the socket has taken in, held or not; or an urgent pointer. */
static __always_inline bool counts_before(struct xdp_md *ctx, struct packet *p, struct workspace *ws, __u32 isn)
{
	if (!(p->flags & PACKET_PROVEN))
		return false;
	if (!(p->flags & PACKET_OF_FLOW))
		return ws->confirmed == CONFIRM_ESTABLISHED || ws->segment.is_urgent;
	if (find_place(p, isn) != NO_PLACE)
		return true;
	if (p->flags & PACKET_REMOTE)
		return false;
	find_confirmed(ctx, ws);
	return ws->confirmed_isn == isn && (ws->confirmed == CONFIRM_ESTABLISHED || ws->segment.is_urgent);
}

/* bytes_held returns how many bytes of the connection's beginning are held without a gap. */
__noinline int bytes_held(struct packet *p, __u32 isn)
{
	__u32 place = find_place(p, isn);
	struct hello *h = bpf_map_lookup_elem(&hellos, &place);
	return h ? bytes_read(h) : 0;
}

/* gather returns REASON_CONTINUE when p completes a ClientHello; REASON_HELLO_PARTIAL when more must come; else why there
 * is none. */
static __always_inline int gather(struct xdp_md *ctx, struct packet *p, struct workspace *ws, __u32 isn)
{
	__u32 at = p->seq - isn - 1, n = p->payload_len, from = p->payload_off;
	if (-at < n) { /* it starts early: a stack trims that too */
		from += -at;
		n -= -at;
		at = 0;
	}
	if (at >= HELLO_MAX)
		return REASON_HELLO_TOO_LONG;
	__u64 fin = p->tcp_flags & TCP_BIT_FIN && n < HELLO_MAX - at ? PIECE_FIN : 0;
	if (n > HELLO_MAX - at)
		n = HELLO_MAX - at;
	if (!at && !(p->tcp_flags & TCP_BIT_URG) && !expects_proxy(p) && !counts_before(ctx, p, ws, isn)) {
		int reason = load_stream(ctx, &ws->raw, from, 0, n);
		if (!reason)
			reason = find_body(&ws->raw, n);
		if (reason == REASON_HELLO_PARTIAL && n >= HELLO_MAX)
			reason = REASON_HELLO_TOO_LONG;
		if (reason ? reason != REASON_HELLO_PARTIAL : !ws->hello_is_split) {
			p->held = n; /* of what goes on, a place says that */
			return reason;
		}
	}
	return hold_piece(ctx, p, ws, isn, pack_piece(from, at, n) | fin);
}

static __always_inline int read_found(struct workspace *ws, struct stream *s)
{
	if (ws->hello_is_sslv2)
		return read_sslv2(s, ws->hello_at);
	return read_client_hello(s, ws->hello_at, ws->hello_body_end);
}

/* read_body reads the ClientHello where find_body or flatten found it. */
static __always_inline int read_body(struct workspace *ws)
{
	if (!ws->is_locked)
		return read_found(ws, &ws->raw);
	struct hello *h = bpf_map_lookup_elem(&hellos, &ws->hello_index);
	return h ? read_found(ws, (struct stream *)h->bytes) : REASON_INTERNAL;
}

/* list_body keeps the lists of the hello that was read, where a new shape is within the budgets. A place whose lock
 * went to another meanwhile may hold other bytes than those whose shape this is. */
static __always_inline int list_body(struct packet *p, struct workspace *ws)
{
	if (!may_compute(p))
		return REASON_HELLO_BUSY;
	if (!ws->is_locked) {
		list_hello(&ws->raw);
		return REASON_CONTINUE;
	}
	struct hello *h = bpf_map_lookup_elem(&hellos, &ws->hello_index);
	if (!h)
		return REASON_INTERNAL;
	list_hello((struct stream *)h->bytes);
	/* A barrier: what is read above is read before. */
	if (__sync_fetch_and_add(&h->lock_ns, 0) == ws->lock_ns)
		return REASON_CONTINUE;
	ws->is_locked = 0;
	return REASON_HELLO_BUSY;
}

/* leave_place keeps the place of a hello that goes on, and gives back that of one that is decided. */
static __always_inline void leave_place(struct workspace *ws, int reason)
{
	if (reason == REASON_HELLO_PARTIAL || reason == REASON_HELLO_BUSY)
		unlock_hello(ws);
	else
		free_hello(ws);
}

/* read_hello leaves the fingerprint of the ClientHello that p completes in the workspace and sets PACKET_HAS_TLS; where
 * it does not, it says so by PACKET_HELLO_PARTIAL or by a reason that rules may score. */
__noinline int read_hello(struct xdp_md *ctx, struct packet *p, __u32 isn)
{
	struct workspace *ws = get_workspace();
	if (!p || !ws)
		return REASON_INTERNAL;
	ws->hello_end = HELLO_MAX;
	ws->hello_isn = isn;
	ws->is_locked = 0;
	int reason = gather(ctx, p, ws, isn);
	if (!reason)
		reason = read_body(ws);
	bool is_read = !reason, is_new = is_read && !ws->is_long && !find_shape();
	int listed = is_new ? list_body(p, ws) : REASON_CONTINUE;
	leave_place(ws, reason);
	if (reason == REASON_NOT_TAKEN) {
		suspect(p, reason);
		p->flags |= PACKET_NOT_TAKEN;
		reason = REASON_HELLO_PARTIAL; /* what is held is as it was */
	}
	if (is_read) {
		reason = ws->is_long ? REASON_HELLO_TOO_LONG : is_new && !listed ? make_shape(p) : listed;
		if (reason == REASON_HELLO_TOO_LONG || reason == REASON_HELLO_BUSY)
			leave_head(p, ws);
	}
	p->hello_end = reason == REASON_MIDSTREAM ? 0 : ws->hello_end;
	if (is_read || reason == REASON_NOT_HELLO || reason == REASON_HELLO_TOO_LONG ||
	    reason == REASON_HELLO_MALFORMED)
		p->flags |= PACKET_HELLO_READ;
	if (!reason) {
		p->flags |= PACKET_HAS_TLS;
	} else if (reason == REASON_HELLO_PARTIAL) {
		p->flags |= PACKET_HELLO_PARTIAL;
		p->hello_end = HELLO_MAX;
	} else {
		suspect(p, reason);
	}
	return reason;
}

#endif
