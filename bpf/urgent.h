/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* urgent.h takes an urgent byte out of a hello, as Linux does for a server without SO_OOBINLINE (tcp_check_urg and
 * tcp_recvmsg): it is read aside, and the stream goes on without it. The pointer may come with any segment, also one out of
 * order or without data, which the socket shows, and point beyond it; one into what was taken in is ignored. Of two that nobody read between, the first byte
 * returns into the stream: that only the server knows. (With net.ipv4.tcp_stdurg, RFC 1122's pointer, it is the byte after.) */
#ifndef SPILLWAY_URGENT_H
#define SPILLWAY_URGENT_H

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "pieces.h"

/* What one round moves, by bpf_loop: the verifier then sees one round. */
struct moving {
	struct hello *hello;
	__u32 at;
	__u32 end;
	__u64 keep; /* of the first word: the bits in front of the one that goes */
};

static __always_inline void drop_bits(struct hello_bits *b, const struct moving *m, __u32 next)
{
	__u64 word = bit_word(b, m->at), behind = next < m->end ? bit_word(b, next) << 63 : 0;
	__u32 at = m->at;
	bounded(at);
	b->words[at / 64 & (HELLO_WORDS - 1)] = (word & m->keep) | (word >> 1 & ~m->keep) | behind;
}

static long drop_bits_round(__u32 round, struct moving *m)
{
	__u32 next = (m->at | 63) + 1;
	drop_bits(&m->hello->starts, m, next);
	drop_bits(&m->hello->lasts, m, next);
	drop_bits(&m->hello->received, m, next);
	m->keep = 0;
	m->at = next;
	return next >= m->end;
}

static long drop_byte_round(__u32 round, struct moving *m)
{
	struct stream *s = (struct stream *)m->hello->bytes;
	__u64 word = long_at(s, m->at + 1), *place = (void *)place_at(s, m->at);
	*place = word;
	m->at += 8;
	return m->at >= m->end;
}

/* take_out takes the byte out of what waits behind a gap. */
__noinline int take_out(struct hello *h, __u32 at)
{
	if (!h)
		return 0;
	__u32 end = h->far_to;
	struct moving bytes = { .hello = h, .at = at, .end = end }, bits = bytes;
	bool is_start = has_bit(&h->starts, at), is_last = has_bit(&h->lasts, at);
	bits.keep = (1ULL << (at & 63)) - 1;
	bpf_loop(HELLO_MAX / 8, drop_byte_round, &bytes, 0);
	bpf_loop(HELLO_WORDS, drop_bits_round, &bits, 0);
	if (is_start && !is_last)
		write_bits(&h->starts, at, at + 1, 1);
	if (is_last && !is_start)
		write_bits(&h->lasts, at - 1, at, 1);
	h->far_to = end - 1;
	h->fin -= h->fin > at;
	return 0;
}

/* bytes_read is how far the sequence numbers are that belong to what is held without a gap. */
static __always_inline __u32 bytes_read(const struct hello *h)
{
	return h->len + (h->urgent && h->len >= h->urgent - 1);
}

/* take_pointer takes the byte at `at`, to which an urgent pointer points, out of the stream. */
static __always_inline int take_pointer(const struct packet *p, struct hello *h, __u32 at)
{
	if (at >= HELLO_MAX || at < bytes_read(h) || h->urgent == at + 1)
		return REASON_CONTINUE;
	bool is_waiting = h->far_to > at;
	if (h->urgent || h->fin == at + 1 || (is_waiting && !(p->flags & PACKET_PROVEN)))
		return REASON_HELLO_URGENT;
	if (is_waiting)
		take_out(h, at);
	h->urgent = at + 1;
	return REASON_CONTINUE;
}

/* note_urgent looks at the urgent pointer that the socket has, which may have come without data, and at that of a segment. */
__noinline int note_urgent(struct xdp_md *ctx, struct packet *p, struct hello *h, __u32 isn)
{
	struct workspace *ws = get_workspace();
	__be16 pointer; /* the last of a TCP header, in front of the options */
	if (!p || !h || !ws)
		return REASON_INTERNAL;
	if (ws->segment.is_urgent) {
		int reason = take_pointer(p, h, ws->segment.urgent - isn - 1);
		if (reason)
			return reason;
	}
	if ((p->tcp_flags & (TCP_BIT_URG | TCP_BIT_ACK)) != (TCP_BIT_URG | TCP_BIT_ACK))
		return REASON_CONTINUE;
	if (bpf_xdp_load_bytes(ctx, (p->payload_off - p->options_len - sizeof(pointer)) & 0xffff, &pointer,
			       sizeof(pointer)))
		return REASON_MALFORMED;
	__u32 at = bpf_ntohs(pointer);
	return take_pointer(p, h, p->seq + at - !!at - isn - 1);
}

/* add_around adds a piece without the urgent byte. */
static __always_inline int add_around(struct xdp_md *ctx, struct packet *p, struct hello *h, __u64 piece)
{
	__u32 from = piece >> 32, at = piece >> 16 & 0xffff, n = piece & 0xffff, urgent = h->urgent;
	if (!urgent || at + n < urgent)
		return add_piece(ctx, p, h, piece);
	if (piece & PIECE_FIN && at <= h->len && at + n > h->len)
		h->far_to = 0; /* Linux forgets what waits behind a FIN that comes in order */
	if (at + 1 < urgent) {
		int reason = add_piece(ctx, p, h, pack_piece(from & 0xffff, at, urgent - 1 - at));
		if (reason)
			return reason;
	}
	__u32 skipped = at < urgent ? urgent - at : 0;
	return add_piece(ctx, p, h, pack_piece(from + skipped, at + skipped - 1, n - skipped));
}

#endif
