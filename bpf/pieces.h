/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* pieces.h puts pieces of a stream to their places, in whatever order they come, as Linux does (tcp_data_queue_ofo and
 * tcp_ofo_queue of net/ipv4/tcp_input.c, 6.1 to 6.18):
 *
 *   0            len                                far_to
 *   │ taken: fixed │     ███████▒▒▒▒      ████████████ │     received; with a bit in `starts` and one in `lasts` for each piece
 *
 * - What the socket has taken in stays as it is. What comes next in order beats what waits behind the gap.
 * - Of what waits, the piece that begins earlier has the bytes that two have. A piece inside of another is nothing new; one
 *   that a new piece covers is replaced by it. So pieces that begin earlier end earlier, and the n-th start and the n-th last
 *   byte are of one piece.
 * - A piece that is appended to another becomes one with it. (Linux does that where the buffers of the network card allow it;
 *   where they do not, a later piece may replace what here is the second half of a longer one.)
 * - A FIN counts as the last byte of its piece, and goes with it. What lies behind one that is reached is forgotten, and nothing is
 *   taken any more. (Of two that wait the first is known.)
 *
 * Because bytes that come twice depend on that, those that differ are told: hello_overlap, also of what waits behind a gap. */
#ifndef SPILLWAY_PIECES_H
#define SPILLWAY_PIECES_H

#include <bpf/bpf_helpers.h>

#include "bits.h"
#include "maps.h"
#include "stream.h"

/* How many runs of received bytes a piece is compared with; one that covers more is taken to differ. */
#define RUNS_MAX 16

/* load_stream copies n bytes of the frame from `from` on to s->bytes[at]. */
__noinline int load_stream(struct xdp_md *ctx, struct stream *s, __u32 from, __u32 at, __u32 n)
{
	if (!s)
		return REASON_INTERNAL;
	for (int i = 0; i < HELLO_MAX / HELLO_PIECE && n; i++) {
		__u32 size = n > HELLO_PIECE ? HELLO_PIECE : n;
		bounded(size);
		size = ((size - 1) & (HELLO_PIECE - 1)) + 1; /* 1 to HELLO_PIECE, in terms that Linux 6.1 understands */
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

#define COMPARED_AT_ONCE 64

/* differ_round compares some pieces; 1 ends it. What moves is in the workspace: the stack has no room for it. */
static long differ_round(__u32 round, struct hello **hello)
{
	struct workspace *ws = get_workspace();
	if (!ws)
		return 1;
	struct hello *h = *hello;
	__u32 at = reload(ws->differ_at), end = reload(ws->differ_end) - COMPARED_AT_ONCE;
	__u64 difference = 0;
#pragma clang loop unroll(disable)
	for (int piece = 0; piece < 8 && at <= end; piece++) {
		const __u64 *a = place_at(&ws->raw, at), *b = place_at((struct stream *)h->bytes, at);
		for (int i = 0; i < COMPARED_AT_ONCE / 8; i++)
			difference |= a[i] ^ b[i];
		at += COMPARED_AT_ONCE;
	}
	reload(ws->difference) |= difference;
	reload(ws->differ_at) = at;
	return at > end;
}

/* differ says whether bytes `at` to `end` of the workspace differ from those that are held. */
__noinline int differ(struct hello *h, __u32 at, __u32 end)
{
	struct workspace *ws = get_workspace();
	if (!h || !ws || at >= end)
		return 0;
	ws->differ_at = at;
	ws->differ_end = end;
	ws->difference = 0;
	if (at + COMPARED_AT_ONCE <= end)
		bpf_loop(HELLO_MAX / COMPARED_AT_ONCE / 8 + 1, differ_round, &h, 0);
	at = reload(ws->differ_at);
	end = reload(ws->differ_end);
	__u64 difference = reload(ws->difference);
	for (int i = 0; i < COMPARED_AT_ONCE / 8 && at < end; i++) {
		__u32 left = end - at, size = left < 8 ? left : 8;
		bounded(size);
		difference |= (long_at(&ws->raw, at) ^ long_at((struct stream *)h->bytes, at)) << (64 - 8 * size & 63);
		at += size;
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

/* compare_received notes it when bytes `at` to `end` of the workspace are not those that were received there. */
static __always_inline void compare_received(struct packet *p, struct workspace *ws, struct hello *h, __u32 at,
					     __u32 end)
{
	int is_other = 0;
	for (int i = 0; i < RUNS_MAX && at < end; i++) {
		__u32 run = next_bit(&h->received, at, end, 0);
		at = next_bit(&h->received, run, end, 1);
		is_other |= differ(h, run, at);
		bounded(at);
		bounded(is_other);
	}
	if (is_other || at < end)
		suspect(p, REASON_HELLO_OVERLAP);
}

/* A piece of a stream: n bytes at offset `at`, which lie in the frame from `from` on. In one word, for functions of five
 * arguments. */
static __always_inline __u64 pack_piece(__u32 from, __u32 at, __u32 n)
{
	return (__u64)from << 32 | at << 16 | n;
}

/* A FIN lies behind the piece. */
#define PIECE_FIN (1ULL << 63)

/* has_ended says whether the client's FIN was reached. */
static __always_inline bool has_ended(const struct hello *h)
{
	return h->len == h->fin - 1;
}

/* end_stream lets a FIN at `at` be the end. */
static __always_inline void end_stream(struct hello *h, __u32 at)
{
	h->len = at;
	h->fin = at + 1;
	h->far_to = 0;
}

/* follow moves the end of what is held without a gap over what was received behind it, up to a FIN. */
static __always_inline void follow(struct hello *h, __u32 end)
{
	__u32 far_to = h->far_to, fin = h->fin - 1;
	if (end < far_to)
		end = next_bit(&h->received, end, far_to, 1);
	h->len = end;
	if (end >= far_to)
		h->far_to = 0;
	if (end > fin)
		end_stream(h, fin);
}

__noinline int forget_waiting(struct hello *h)
{
	if (!h)
		return 0;
	write_bits(&h->received, 0, h->used_to, 0);
	write_bits(&h->starts, 0, h->used_to, 0);
	write_bits(&h->lasts, 0, h->used_to, 0);
	h->used_to = 0;
	return 0;
}

/* insert_piece finds among the pieces that wait the place of one of bytes `at` to `end`. It returns from which byte on it has
 * something new; end when it has nothing. */
__noinline int insert_piece(struct hello *h, __u32 at, __u32 end)
{
	if (!h)
		return 0;
	__u32 len = h->len, far_to = h->far_to, begin = at;
	__u32 is_start = has_bit(&h->starts, at), open = 0;
	/* Those that begin before it and go on in it, and the end of the last of them. */
	if (has_bit(&h->received, at))
		open = count_bits(&h->starts, len, at) - count_bits(&h->lasts, len, at);
	if (open)
		begin = nth_bit(&h->lasts, at, far_to, open) + 1;
	__u32 inside = is_start ? nth_bit(&h->lasts, at, far_to, open + 1) + 1 : begin;
	if (end <= inside)
		return end;
	__u32 covered = count_bits(&h->lasts, begin, end);
	write_bits(&h->lasts, begin, end, 0);
	if (covered)
		write_bits(&h->starts, at, nth_bit(&h->starts, at, far_to, covered) + 1, 0);
	write_bits(&h->lasts, end - 1, end, 1);
	if (!open && !is_start && has_bit(&h->lasts, at - 1))
		write_bits(&h->lasts, at - 1, at, 0);
	else
		write_bits(&h->starts, at, at + 1, 1);
	return begin;
}

/* note_fin keeps the FIN that ends a piece in mind, and forgets that of one whose place the piece took. */
static __always_inline void note_fin(struct hello *h, __u32 begin, __u32 end, __u32 has_fin)
{
	__u32 was = h->fin - 1;
	if (was >= begin && was < end + has_fin)
		h->fin = 0;
	if (has_fin && end < h->fin - 1)
		h->fin = end + 1;
}

/* queue_piece keeps a piece behind a gap. */
__noinline int queue_piece(struct xdp_md *ctx, struct packet *p, struct hello *h, __u64 piece)
{
	struct workspace *ws = get_workspace();
	if (!p || !h || !ws)
		return REASON_INTERNAL;
	__u32 from = piece >> 32, at = piece >> 16 & 0xffff, end = at + (piece & 0xffff);
	if (!h->far_to)
		forget_waiting(h);
	__u32 known = next_bit(&h->received, at, end, 0);
	if (known < end) {
		int reason = load_stream(ctx, &ws->raw, from, at, end - at);
		if (reason)
			return reason;
		__u32 fin = h->fin - 1;
		if (fin < end) /* it was received, and is no byte that could differ */
			ws->raw.bytes[fin & STREAM_MASK] = byte_at((struct stream *)h->bytes, fin);
		compare_received(p, ws, h, at, end);
	}
	suspect(p, REASON_HELLO_ORDER);
	__u32 has_fin = piece >> 63;
	__u32 begin =
		insert_piece(h, at, end + has_fin); /* a frame of its own: that of this function has no room for more */
	if (begin >= end + has_fin)
		return REASON_CONTINUE;
	if (begin < end) {
		int reason = load_stream(ctx, (struct stream *)h->bytes, from + (begin - at), begin, end - begin);
		if (reason)
			return reason;
	}
	note_fin(h, begin, end, has_fin);
	end += has_fin;
	write_bits(&h->received, begin, end, 1);
	h->far_to = end > h->far_to ? end : h->far_to;
	h->used_to = h->far_to > h->used_to ? h->far_to : h->used_to;
	return REASON_CONTINUE;
}

/* take_piece adds a piece that begins in what is held, or where that ends. */
__noinline int take_piece(struct xdp_md *ctx, struct packet *p, struct hello *h, __u64 piece)
{
	struct workspace *ws = get_workspace();
	if (!p || !h || !ws)
		return REASON_INTERNAL;
	__u32 from = piece >> 32, at = piece >> 16 & 0xffff, n = piece & 0xffff, end = at + n, len = h->len;
	int reason;
	/* In front of flat_from lies no stream any more. */
	__u32 known = at > h->flat_from ? at : h->flat_from, last = end < len ? end : len;
	bool is_again = known<last, is_waiting = end> len && h->far_to;
	__u32 fin = h->fin - 1;
	if (fin < end) { /* it lies in bytes that come in order */
		write_bits(&h->received, fin, fin + 1, 0);
		h->fin = 0;
	}
	if (is_again || is_waiting) {
		if ((reason = load_stream(ctx, &ws->raw, from, at, n)))
			return reason;
		if (is_again && differ(h, known, last))
			suspect(p, REASON_HELLO_OVERLAP);
		if (is_waiting)
			compare_received(p, ws, h, len, end);
	}
	if (end > len && (reason = load_stream(ctx, (struct stream *)h->bytes, from + (len - at), len, end - len)))
		return reason;
	if (piece & PIECE_FIN && end >= len)
		end_stream(h, end);
	else if (end > len) /* else the socket took that before */
		follow(h, end);
	return REASON_CONTINUE;
}

/* add_piece adds a piece to what is held. */
static __always_inline int add_piece(struct xdp_md *ctx, struct packet *p, struct hello *h, __u64 piece)
{
	if (!(piece & (PIECE_FIN | 0xffff)) || has_ended(h))
		return REASON_CONTINUE;
	return (piece >> 16 & 0xffff) > h->len ? queue_piece(ctx, p, h, piece) : take_piece(ctx, p, h, piece);
}

#endif
