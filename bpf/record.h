/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* record.h finds a ClientHello in TLS records (RFC 8446 section 5.1): in place where one record holds it, put together where
 * it lies in several.
 *
 * What counts is not what the RFC allows but what some server takes, for a hello that is served and was not read hides its
 * client. Handshake records may be empty (OpenSSL and what is built on it takes 32 in a row); warnings (Go) and change_cipher_spec
 * (GnuTLS) may come before and between; Go looks at no version below 0x1000. test/ja4/servers_test.go asks the servers. */
#ifndef SPILLWAY_RECORD_H
#define SPILLWAY_RECORD_H

#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "stream.h"

#define TLS_CHANGE_CIPHER_SPEC 0x14
#define TLS_ALERT 0x15
#define TLS_ALERT_WARNING 1
#define TLS_HANDSHAKE 0x16
#define TLS_MAJOR_END 16 /* the first major version of a record that no server takes */
#define TLS_CLIENT_HELLO 1
#define TLS_RECORD_HEADER 5
#define TLS_MESSAGE_HEADER 4
#define TLS_RECORD_MAX 16384 /* RFC 8446 section 5.1 */

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
static __always_inline int next_record(struct workspace *ws, struct stream *s, __u32 len)
{
	__u32 from = reload(ws->flat_from);
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
	reload(ws->flat_from) = from + skip;
	reload(ws->flat_left) = left;
	reload(ws->flat_records) += 1;
	return reload(ws->flat_records) > records_max(ws) ? REASON_HELLO_TOO_LONG : REASON_CONTINUE;
}

/* copy_piece copies eight bytes, or what the record or the stream has left of them. */
static __always_inline int copy_piece(struct workspace *ws, struct stream *s, __u32 len)
{
	__u32 from = reload(ws->flat_from), to = reload(ws->flat_to), left = reload(ws->flat_left);
	if (from >= len)
		return REASON_HELLO_PARTIAL;
	__u32 step = left < 8 ? left : 8;
	step = step < len - from ? step : len - from;
	__u64 *place = (void *)place_at(&ws->flat, to);
	*place = long_at(s, from);
	reload(ws->flat_from) = from + step;
	reload(ws->flat_to) = to + step;
	reload(ws->flat_left) = left - step;
	return REASON_CONTINUE;
}

static __always_inline int found_body(struct workspace *ws, __u32 at, __u32 end, __u32 is_flat)
{
	ws->hello_at = at;
	ws->hello_body_end = end;
	ws->hello_is_flat = is_flat;
	ws->hello_is_split = 0;
	return REASON_CONTINUE;
}

struct flattening {
	struct stream *from;
	__u32 len;
	__u32 pad;
};

/* flatten_round is one round of flatten_records; 1 ends it, and flat_reason says how. What moves is in the workspace, so
 * that the verifier sees one round, and not how many there were. */
static long flatten_round(__u32 round, struct flattening *f)
{
	struct workspace *ws = get_workspace();
	if (!ws)
		return 1;
	int reason = reload(ws->flat_left) ? REASON_CONTINUE : next_record(ws, f->from, f->len);
	if (!reason && reload(ws->flat_left))
		reason = copy_piece(ws, f->from, f->len);
	__u32 to = reload(ws->flat_to);
	if (to && byte_at(&ws->flat, 0) != TLS_CLIENT_HELLO)
		reason = REASON_NOT_HELLO;
	ws->flat_reason = reason;
	if (reason)
		return 1;
	if (to < TLS_MESSAGE_HEADER)
		return 0;
	if (to >= TLS_MESSAGE_HEADER + length_at(&ws->flat, 1))
		return 1;
	return 0;
}

/* foreign is the reason of a first record that cannot be one of a hello. */
static __always_inline int foreign(int reason)
{
	return reason == REASON_HELLO_MALFORMED ? REASON_NOT_HELLO : reason;
}

/* flatten_records copies the handshake message that begins s, and lies in several records, to the workspace. Each round
 * copies eight bytes, or what a record has left. */
__noinline int flatten_records(struct stream *s, __u32 len)
{
	struct workspace *ws = get_workspace();
	if (!s || !ws)
		return REASON_INTERNAL;
	ws->flat_from = ws->flat_to = ws->flat_left = ws->flat_records = 0;
	ws->flat_reason = REASON_INTERNAL;
	struct flattening f = { .from = s, .len = len };
	bpf_loop(HELLO_MAX / 8 + HELLO_MAX / TLS_RECORD_HEADER, flatten_round, &f, 0);
	if (reload(ws->flat_reason))
		return ws->flat_records ? ws->flat_reason : foreign(ws->flat_reason);
	__u32 end = TLS_MESSAGE_HEADER + length_at(&ws->flat, 1);
	if (end > HELLO_MAX || reload(ws->flat_to) < end)
		return REASON_HELLO_TOO_LONG;
	ws->hello_end = ws->flat_from;
	return found_body(ws, TLS_MESSAGE_HEADER, end, 1);
}

/* find_body finds the body of the ClientHello that the first len bytes of a stream hold, or that it is split. */
__noinline int find_body(struct stream *s, __u32 len)
{
	struct workspace *ws = get_workspace();
	if (!s || !ws || len > HELLO_MAX)
		return REASON_INTERNAL;
	ws->hello_end = len;
	ws->hello_is_flat = 0;
	if (!len)
		return REASON_HELLO_PARTIAL;
	__u32 kind = byte_at(s, 0), record = len < TLS_RECORD_HEADER ? 1 : word_at(s, 3);
	if (!is_taken(kind, len > 1 ? byte_at(s, 1) : 0))
		return REASON_NOT_HELLO;
	if (kind != TLS_HANDSHAKE || !record)
		return ws->hello_is_split = 1, REASON_CONTINUE;
	if (len > TLS_RECORD_HEADER && byte_at(s, TLS_RECORD_HEADER) != TLS_CLIENT_HELLO)
		return REASON_NOT_HELLO;
	if (len < TLS_RECORD_HEADER + TLS_MESSAGE_HEADER)
		return REASON_HELLO_PARTIAL;
	if (record > TLS_RECORD_MAX)
		return REASON_HELLO_MALFORMED;
	__u32 message = record < TLS_MESSAGE_HEADER ? 0 : length_at(s, TLS_RECORD_HEADER + 1);
	if (message > HELLO_MAX - TLS_RECORD_HEADER - TLS_MESSAGE_HEADER)
		return REASON_HELLO_TOO_LONG;
	if (record < TLS_MESSAGE_HEADER || message + TLS_MESSAGE_HEADER > record)
		return ws->hello_is_split = 1, REASON_CONTINUE;
	__u32 end = TLS_RECORD_HEADER + TLS_MESSAGE_HEADER + message;
	if (end > len)
		return REASON_HELLO_PARTIAL;
	ws->hello_end = end;
	return found_body(ws, TLS_RECORD_HEADER + TLS_MESSAGE_HEADER, end, 0);
}

#endif
