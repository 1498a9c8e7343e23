/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* hello.h gathers the first bytes that a client sends until they hold a whole ClientHello: over several segments, in
 * whatever pieces, and over several TLS records.
 *
 * The bytes are kept as they came, at their place in the stream, so a retransmission is nothing special: it writes the
 * same bytes again, or others, and the hello is read again. */
#ifndef SPILLWAY_HELLO_H
#define SPILLWAY_HELLO_H

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "clienthello.h"
#include "confirm.h"
#include "ja4.h"
#include "record.h"

/* Copied at once; with HELLO_MAX in front of it, it must fit a hello's buffer. */
#define PIECE 2048
/* A lock that old has no owner any more. */
#define LOCK_STALE_NS SECOND_NS

/* load_stream copies n bytes of the frame from `from` on to s->bytes[at]. */
__noinline int load_stream(struct xdp_md *ctx, struct stream *s, __u32 from, __u32 at, __u32 n)
{
	if (!s)
		return REASON_INTERNAL;
	for (int i = 0; i < HELLO_MAX / PIECE && n; i++) {
		__u32 size = n > PIECE ? PIECE : n;
		bounded(size);
		size = ((size - 1) & (PIECE - 1)) + 1; /* 1 to PIECE, in terms that Linux 6.1 understands */
		if (at > HELLO_MAX)
			return REASON_INTERNAL;
		if (bpf_xdp_load_bytes(ctx, from & 0xffff, &s->bytes[at], size))
			return REASON_MALFORMED; /* the frame ends before its headers say */
		from += size;
		at += size;
		n -= size;
		bounded(from);
		bounded(at);
		bounded(n);
	}
	return REASON_CONTINUE;
}

/* differ says whether bytes `at` to `end` of the two streams differ. */
__noinline int differ(struct stream *a, struct stream *b, __u32 at, __u32 end)
{
	if (!a || !b)
		return 0;
	__u64 difference = 0;
	for (int i = 0; i < HELLO_MAX / 32 && at + 32 <= end; i++) {
		difference |= long_at(a, at) ^ long_at(b, at);
		difference |= long_at(a, at + 8) ^ long_at(b, at + 8);
		difference |= long_at(a, at + 16) ^ long_at(b, at + 16);
		difference |= long_at(a, at + 24) ^ long_at(b, at + 24);
		at += 32;
		bounded(at);
		bounded(difference);
	}
	for (int i = 0; i < 32 && at < end; i++) {
		difference |= byte_at(a, at) ^ byte_at(b, at);
		at += 1;
		bounded(at);
		bounded(difference);
	}
	return !!difference;
}

/* suspect notes what is odd about a hello; what is odd about the packet itself comes first. */
static __always_inline void suspect(struct packet *p, __u8 reason)
{
	if (!p->weak_reason)
		p->weak_reason = reason;
}

/* note_piece extends what is held by bytes `at` to `end`. One gap is remembered: with it two segments may change places. */
static __always_inline void note_piece(struct packet *p, struct hello *h, __u32 at, __u32 end)
{
	if (at > h->len) {
		suspect(p, REASON_HELLO_ORDER);
		if (!h->far_to || at > h->far_to || end < h->far_from) {
			if (h->far_to)
				p->flags |= PACKET_UNSEEN; /* what was there */
			h->far_from = at;
			h->far_to = end;
		} else {
			h->far_from = at < h->far_from ? at : h->far_from;
			h->far_to = end > h->far_to ? end : h->far_to;
		}
		return;
	}
	if (end > h->len)
		h->len = end;
	if (h->far_to && h->far_from <= h->len) {
		if (h->far_to > h->len)
			h->len = h->far_to;
		h->far_from = h->far_to = 0;
	}
}

/* bytes_taken returns how many bytes of the stream the socket has taken in, as far as it matters to a hello. */
__noinline int bytes_taken(struct xdp_md *ctx, struct packet *p, __u32 isn)
{
	__u32 next = 0, its_isn = 0;
	if (!p || p->flags & PACKET_REMOTE || !socket_next(ctx, p, &its_isn, &next) || its_isn != isn)
		return 0;
	__u32 taken = next - isn - 1;
	return taken < HELLO_MAX ? taken : HELLO_MAX;
}

/* add_piece puts n bytes of the frame from `from` on to their place in h, and finds the body of what is there. Of two
 * versions the newer counts, but not against bytes that the socket has taken in: it ignored what came after them. */
__noinline int add_piece(struct xdp_md *ctx, struct packet *p, struct hello *h, __u64 place)
{
	struct workspace *ws = get_workspace();
	if (!p || !h || !ws)
		return REASON_INTERNAL;
	__u32 from = place >> 32, at = place >> 16 & 0xffff, n = place & 0xffff;
	struct stream *held = (struct stream *)h->bytes;
	__u32 end = at + n, len = h->len;
	int reason;
	if (at > len && p->flags & PACKET_NOT_FIRST)
		return REASON_MIDSTREAM;
	if (at < len) {
		if ((reason = load_stream(ctx, &ws->raw, from, at, n)))
			return reason;
		if (differ(&ws->raw, held, at, end < len ? end : len)) {
			suspect(p, REASON_HELLO_OVERLAP);
			__u32 taken = bytes_taken(ctx, p, h->isn);
			__u32 keep = taken > at ? taken - at : 0;
			keep = keep < n ? keep : n;
			from += keep;
			at += keep;
			n -= keep;
		}
	}
	if ((reason = load_stream(ctx, held, from, at, n)))
		return reason;
	note_piece(p, h, at, end);
	p->held = h->len;
	return find_body(held, h->len);
}

static __always_inline void unlock_hello(struct workspace *ws)
{
	if (!ws->is_locked)
		return;
	struct hello *h = bpf_map_lookup_elem(&hellos, &ws->hello_index);
	if (h)
		__sync_lock_test_and_set(&h->lock_ns, 0);
	ws->is_locked = 0;
}

/* lock_place takes a place among the hellos that are not whole. */
static __always_inline struct hello *lock_place(struct workspace *ws, __u32 index)
{
	struct hello *h = bpf_map_lookup_elem(&hellos, &index);
	if (!h)
		return 0;
	__u64 now_ns = bpf_ktime_get_coarse_ns(), taken_ns = *(volatile __u64 *)&h->lock_ns;
	if (taken_ns && now_ns - taken_ns < LOCK_STALE_NS)
		return 0;
	if (__sync_val_compare_and_swap(&h->lock_ns, taken_ns, now_ns) != taken_ns)
		return 0;
	ws->hello_index = index;
	ws->is_locked = 1;
	return h;
}

/* is_held_at says whether the place holds the beginning of p's connection. */
static __always_inline bool is_held_at(__u32 index, __u64 owner, __u32 isn)
{
	struct hello *h = bpf_map_lookup_elem(&hellos, &index);
	return h && h->owner == owner && h->isn == isn;
}

/* lock_hello takes the place of p's connection. What is not proven has the upper half of them, so that forged hellos take
 * no place from true ones; a hello whose first part came before there was a socket, behind a SYN cookie, stays there. */
static __always_inline struct hello *lock_hello(struct packet *p, struct workspace *ws, __u32 isn)
{
	struct runtime *rt = get_words();
	if (!rt)
		return 0;
	__u64 owner = hash_flow_key(&p->key, rt->seed[1], rt->seed[0]);
	__u32 lower = settings.hello_mask >> 1, upper = lower + 1;
	__u32 index = owner & lower;
	if (!(p->flags & PACKET_PROVEN) || (!is_held_at(index, owner, isn) && is_held_at(index | upper, owner, isn)))
		index |= upper;
	struct hello *h = lock_place(ws, index);
	if (!h || (h->owner == owner && h->isn == isn))
		return h;
	if (p->flags & PACKET_NOT_FIRST) {
		unlock_hello(ws);
		return 0;
	}
	h->owner = owner;
	h->isn = isn;
	h->len = h->far_from = h->far_to = 0;
	p->flags |= PACKET_NEW_PLACE;
	return h;
}

/* hold_piece adds a piece to the hello of p's connection, and leaves it locked while its bytes are in use. */
__noinline int hold_piece(struct xdp_md *ctx, struct packet *p, __u32 isn, __u64 place)
{
	struct workspace *ws = get_workspace();
	if (!p || !ws)
		return REASON_INTERNAL;
	struct hello *h = lock_hello(p, ws, isn);
	if (h)
		return add_piece(ctx, p, h, place);
	return p->flags & PACKET_NOT_FIRST ? REASON_MIDSTREAM : REASON_HELLO_BUSY;
}

/* bytes_held returns how many bytes of the connection's beginning are held without a gap. */
__noinline int bytes_held(struct packet *p, __u32 isn)
{
	struct runtime *rt = get_words();
	if (!p || !rt)
		return 0;
	__u64 owner = hash_flow_key(&p->key, rt->seed[1], rt->seed[0]);
	__u32 lower = settings.hello_mask >> 1, index = owner & lower;
	if (!is_held_at(index, owner, isn))
		index |= lower + 1;
	struct hello *h = is_held_at(index, owner, isn) ? bpf_map_lookup_elem(&hellos, &index) : 0;
	return h ? h->len : 0;
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
	if (n > HELLO_MAX - at)
		n = HELLO_MAX - at;
	if (!at) {
		p->held = n;
		int reason = load_stream(ctx, &ws->raw, from, 0, n);
		if (!reason)
			reason = find_body(&ws->raw, n);
		if (!reason && ws->hello_is_split)
			reason = flatten_records(&ws->raw, n);
		if (reason != REASON_HELLO_PARTIAL)
			return reason;
		if (n >= HELLO_MAX)
			return REASON_HELLO_TOO_LONG;
	}
	return hold_piece(ctx, p, isn, (__u64)from << 32 | at << 16 | n);
}

/* read_body reads the ClientHello where find_body found it. */
static __always_inline int read_body(struct workspace *ws)
{
	__u32 at = ws->hello_at, end = ws->hello_body_end;
	if (ws->hello_is_flat)
		return read_client_hello(&ws->flat, at, end);
	if (!ws->is_locked)
		return read_client_hello(&ws->raw, at, end);
	struct hello *h = bpf_map_lookup_elem(&hellos, &ws->hello_index);
	if (!h)
		return REASON_INTERNAL;
	struct stream *held = (struct stream *)h->bytes;
	if (!ws->hello_is_split)
		return read_client_hello(held, at, end);
	int reason = flatten_records(held, h->len);
	return reason ? reason : read_client_hello(&ws->flat, ws->hello_at, ws->hello_body_end);
}

/* read_hello leaves the fingerprint of the ClientHello that p completes in the workspace and sets PACKET_HAS_TLS; where
 * it does not, it says so by PACKET_HELLO_PARTIAL or by a reason that rules may score. */
__noinline int read_hello(struct xdp_md *ctx, struct packet *p, __u32 isn)
{
	struct workspace *ws = get_workspace();
	if (!p || !ws)
		return REASON_INTERNAL;
	ws->hello_end = HELLO_MAX;
	ws->is_locked = 0;
	int reason = gather(ctx, p, ws, isn);
	if (!reason)
		reason = read_body(ws);
	unlock_hello(ws);
	bool is_read = !reason;
	if (is_read)
		reason = find_ja4(p);
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
