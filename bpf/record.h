/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* record.h finds a ClientHello in TLS records (RFC 8446 section 5.1): in place where one record holds it, put together where
 * it lies in several:
 *
 *   │ message, flat_to bytes │ nothing │ records that are still to come │
 *   0                                  flat_from                        len
 *
 * The message grows over the records that it came from, so no byte is moved twice, whatever comes in how many segments.
 *
 * What counts is not what the RFC allows but what some server takes, for a hello that is served and was not read hides its
 * client. Handshake records may be empty (OpenSSL and what is built on it takes 32 in a row); warnings (Go) and change_cipher_spec
 * (GnuTLS) may come before and between; Go looks at no version below 0x1000. test/dataplane/ja4/servers_test.go asks the servers. */
#ifndef SPILLWAY_RECORD_H
#define SPILLWAY_RECORD_H

#include <bpf/bpf_helpers.h>

#include "budget.h"
#include "maps.h"
#include "sslv2.h"
#include "stream.h"

/* A record of a kind and version that a server takes before or in a ClientHello. */
static __always_inline bool is_taken(__u32 kind, __u32 major)
{
	return kind >= TLS_CHANGE_CIPHER_SPEC && kind <= TLS_HANDSHAKE && major < TLS_MAJOR_END;
}

/* records_max bounds the work for what no socket vouches for; a proven hello has as many as its bytes can hold. */
static __always_inline __u32 records_max(const struct workspace *ws)
{
	return ws->packet.flags & PACKET_PROVEN ? HELLO_MAX / TLS_RECORD_HEADER : HELLO_RECORDS_MAX;
}

/* next_record steps into the record at flat_from, or over one that adds nothing to the message: flat_left is 0 then. */
static __always_inline int next_record(struct workspace *ws, struct hello *h)
{
	struct stream *s = (struct stream *)h->bytes;
	__u32 from = reload(h->flat_from), len = reload(h->len);
	if (from + TLS_RECORD_HEADER > len)
		return REASON_HELLO_PARTIAL;
	__u32 kind = byte_at(s, from), left = word_at(s, from + 3), skip = 0;
	if (!is_taken(kind, byte_at(s, from + 1)) || left > TLS_RECORD_MAX)
		return REASON_HELLO_MALFORMED;
	from += TLS_RECORD_HEADER;
	if (kind == TLS_ALERT) {
		if (left == 2 && from >= len)
			return REASON_HELLO_PARTIAL;
		if (left != 2 || byte_at(s, from) != TLS_ALERT_WARNING)
			return REASON_HELLO_MALFORMED;
	}
	if (kind != TLS_HANDSHAKE) {
		skip = left;
		left = 0;
	}
	reload(h->flat_from) = from + skip;
	reload(h->flat_left) = left;
	reload(h->flat_records) += 1;
	return reload(h->flat_records) > records_max(ws) ? REASON_HELLO_TOO_LONG : REASON_CONTINUE;
}

/* copy_word moves the first `size` of eight bytes, 1 to 8. */
static __always_inline void copy_word(struct stream *s, __u32 from, __u32 to, __u32 size)
{
	__u64 mask = ~0ULL >> (64 - 8 * size & 63), word = long_at(s, from);
	__u64 *place = (void *)place_at(s, to);
	*place = (*place & ~mask) | (word & mask);
}

/* copy_piece moves 32 bytes, or at most eight of what the record or the stream has left. */
static __always_inline int copy_piece(struct hello *h)
{
	struct stream *s = (struct stream *)h->bytes;
	__u32 from = reload(h->flat_from), to = reload(h->flat_to), left = reload(h->flat_left), len = reload(h->len);
	if (from >= len)
		return REASON_HELLO_PARTIAL;
	__u32 step = left < len - from ? left : len - from;
	if (step >= 32) {
		step = 32;
		copy_word(s, from, to, 8);
		copy_word(s, from + 8, to + 8, 8);
		copy_word(s, from + 16, to + 16, 8);
		copy_word(s, from + 24, to + 24, 8);
	} else {
		step = step < 8 ? step : 8;
		copy_word(s, from, to, step);
	}
	reload(h->flat_from) = from + step;
	reload(h->flat_to) = to + step;
	reload(h->flat_left) = left - step;
	return REASON_CONTINUE;
}

static __always_inline int found_body(struct workspace *ws, __u32 at, __u32 end)
{
	ws->hello_at = at;
	ws->hello_body_end = end;
	ws->hello_is_split = ws->hello_is_sslv2 = 0;
	return REASON_CONTINUE;
}

struct flattening {
	struct hello *hello;
};

/* flatten_round is one round of flatten; 1 ends it, and flat_reason says how. What moves is in the hello, so that the
 * verifier sees one round, and not how many there were. */
static long flatten_round(__u32 round, struct flattening *f)
{
	struct workspace *ws = get_workspace();
	struct hello *h = f->hello;
	if (!ws)
		return 1;
	int reason = reload(h->flat_left) ? REASON_CONTINUE : next_record(ws, h);
	if (!reason && reload(h->flat_left))
		reason = copy_piece(h);
	__u32 to = reload(h->flat_to);
	if (to && byte_at((struct stream *)h->bytes, 0) != TLS_CLIENT_HELLO)
		reason = REASON_NOT_HELLO;
	__u32 end = to < TLS_MESSAGE_HEADER ? ~0U : TLS_MESSAGE_HEADER + length_at((struct stream *)h->bytes, 1);
	if (!reason && to >= TLS_MESSAGE_HEADER && end > HELLO_MAX)
		reason = REASON_HELLO_TOO_LONG;
	ws->flat_reason = reason;
	return reason || to >= end;
}

/* foreign is the reason of a first record that cannot be one of a hello. */
static __always_inline int foreign(int reason)
{
	return reason == REASON_HELLO_MALFORMED ? REASON_NOT_HELLO : reason;
}

/* flatten puts the handshake message together that begins the hello, and lies in several records. It goes on where it stopped:
 * at the end of what is held, or after so many rounds as one packet may cost. Then the rest is the next packet's. */
__noinline int flatten(struct packet *p, struct hello *h)
{
	struct workspace *ws = get_workspace();
	if (!p || !h || !ws)
		return REASON_INTERNAL;
	if (!may_work(p, ws))
		return REASON_HELLO_BUSY;
	ws->flat_reason = REASON_INTERNAL;
	struct flattening f = { .hello = h };
	bpf_loop(HELLO_ROUNDS_MAX, flatten_round, &f, 0);
	__u32 reason = ws->flat_reason, from = h->flat_from;
	if (reason == REASON_HELLO_MALFORMED && !h->flat_to && byte_at((struct stream *)h->bytes, from) & SSLV2_MARK)
		return find_sslv2((struct stream *)h->bytes, from, h->len);
	if (reason)
		return h->flat_records ? reason : foreign(reason);
	__u32 end = TLS_MESSAGE_HEADER + length_at((struct stream *)h->bytes, 1);
	if (h->flat_to < TLS_MESSAGE_HEADER || h->flat_to < end)
		return REASON_HELLO_PARTIAL;
	ws->hello_end = h->flat_from;
	return found_body(ws, TLS_MESSAGE_HEADER, end);
}

/* find_body finds the body of the ClientHello that the first len bytes of a stream hold, or that it is split. */
__noinline int find_body(struct stream *s, __u32 len)
{
	struct workspace *ws = get_workspace();
	if (!s || !ws || len > HELLO_MAX)
		return REASON_INTERNAL;
	ws->hello_end = len;
	ws->hello_is_split = 0;
	if (!len)
		return REASON_HELLO_PARTIAL;
	if (byte_at(s, 0) & SSLV2_MARK)
		return find_sslv2(s, 0, len);
	__u32 kind = byte_at(s, 0), record = len < TLS_RECORD_HEADER ? 1 : word_at(s, 3);
	if (!is_taken(kind, len > 1 ? byte_at(s, 1) : 0))
		return REASON_NOT_HELLO;
	if (kind != TLS_HANDSHAKE || !record)
		return ws->hello_is_split = 1, REASON_CONTINUE;
	if (len > TLS_RECORD_HEADER && byte_at(s, TLS_RECORD_HEADER) != TLS_CLIENT_HELLO)
		return REASON_NOT_HELLO;
	if (len > TLS_RECORD_HEADER && record > TLS_RECORD_MAX)
		return REASON_HELLO_MALFORMED;
	if (len < TLS_RECORD_HEADER + TLS_MESSAGE_HEADER)
		return REASON_HELLO_PARTIAL;
	__u32 message = record < TLS_MESSAGE_HEADER ? 0 : length_at(s, TLS_RECORD_HEADER + 1);
	if (message > HELLO_MAX - TLS_RECORD_HEADER - TLS_MESSAGE_HEADER)
		return REASON_HELLO_TOO_LONG;
	if (record < TLS_MESSAGE_HEADER || message + TLS_MESSAGE_HEADER > record)
		return ws->hello_is_split = 1, REASON_CONTINUE;
	__u32 end = TLS_RECORD_HEADER + TLS_MESSAGE_HEADER + message;
	if (end > len)
		return REASON_HELLO_PARTIAL;
	ws->hello_end = end;
	return found_body(ws, TLS_RECORD_HEADER + TLS_MESSAGE_HEADER, end);
}

#endif
