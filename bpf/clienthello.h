/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* clienthello.h reads a ClientHello (RFC 8446 section 4.1.2) into the key of its shape, and notes where its lists lie:
 * they are kept (lists.h) only where the shape is new.
 *
 *   version, random, session id ─▶ ciphers ─▶ extensions (extensions.h) ─▶ versions, algorithms, ALPN inside of them
 *
 * What no socket vouches for is read up to as many values as clients have; the rest is paid from a budget (budget.h). */
#ifndef SPILLWAY_CLIENTHELLO_H
#define SPILLWAY_CLIENTHELLO_H

#include <bpf/bpf_helpers.h>

#include "budget.h"
#include "extensions.h"
#include "maps.h"
#include "packet.h"
#include "stream.h"
#include "values.h"

/* There are no more values; a protocol behind as many is what it says. */
#define GREASE_PROTOCOLS_MAX 16

/* note_ciphers keeps what was read of `count` cipher suites, n of them no GREASE. */
static __always_inline int note_ciphers(struct workspace *ws, __u64 sum, __u32 n, __u32 count)
{
	if (n > HELLO_CIPHERS_MAX) {
		n = HELLO_CIPHERS_MAX;
		ws->is_long = 1;
	} else if (count > HELLO_VALUES) {
		return REASON_HELLO_TOO_LONG; /* how many there are, nobody counts */
	}
	ws->key.ciphers = sum;
	ws->key.cipher_count = n;
	return REASON_CONTINUE;
}

/* read_ciphers reads `count` cipher suites from `at` on. JA4_a says 99 for all that is more. */
__noinline int read_ciphers(struct stream *s, __u32 at, __u32 count)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	if (!s || !ws || !rt)
		return REASON_INTERNAL;
	ws->ciphers_at = at;
	ws->ciphers_count = count;
	bounded(count); /* here and below: or clang leaves out the constant end of the loop, and Linux 6.1 sees none */
	__u64 sum = 0;
	__u32 n = uncounted(ws);
	for (__u32 i = 0; i < HELLO_VALUES && i < count; i++) {
		__u32 value = word_at(s, at);
		at += 2;
		if (is_grease(value))
			continue;
		sum += mix_value(rt, VALUE_CIPHER, 0, value);
		n += 1;
	}
	return note_ciphers(ws, sum, n,
			    reload(ws->ciphers_count)); /* what a round taught of count would make many ends of one */
}

/* read_versions leaves the highest version of supported_versions (RFC 8446 section 4.2.1), where it names any but GREASE;
 * 0000 is one. */
__noinline int read_versions(struct stream *s)
{
	struct workspace *ws = get_workspace();
	if (!s || !ws)
		return REASON_INTERNAL;
	__u32 at = ws->found[FOUND_VERSIONS].at, len = ws->found[FOUND_VERSIONS].len;
	if (!len)
		return REASON_CONTINUE;
	__u32 bytes = byte_at(s, at);
	if (bytes + 1 != len || bytes & 1)
		return REASON_HELLO_MALFORMED;
	ws->best_version =
		0; /* and one more; in memory, so that a round leaves nothing behind that the verifier could tell apart */
	for (__u32 i = 0; i < 127 && 2 * i < bytes; i++) {
		__u32 value = word_at(s, at + 1 + 2 * i);
		if (!is_grease(value) && value >= reload(ws->best_version))
			ws->best_version = value + 1;
	}
	if (reload(ws->best_version))
		ws->key.version = ws->best_version - 1;
	return REASON_CONTINUE;
}

/* sign_value is one round of the algorithms in a list with GREASE, which few clients send; 1 ends it. */
static long sign_value(__u32 round, struct stream **stream)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	struct found_extension *f = ws ? &ws->found[FOUND_SIGNATURES] : 0;
	if (!f || !rt || 2 * round + 2 >= reload(f->len))
		return 1;
	__u32 value = word_at(*stream, reload(f->at) + 2 + 2 * round), n = reload(ws->round_count);
	if (is_grease(value))
		return 0;
	reload(ws->round_sum) += mix_value(rt, VALUE_SIGNATURE, n, value);
	reload(ws->round_count) = n + 1;
	return 0;
}

/* sign_values hashes such a list. */
__noinline int sign_values(struct stream *s)
{
	struct workspace *ws = get_workspace();
	if (!s || !ws)
		return 0;
	ws->round_sum = ws->round_count = 0;
	bpf_loop(HELLO_VALUES, sign_value, &s, 0);
	ws->key.signatures = reload(ws->round_sum);
	if (reload(ws->round_count) > HELLO_SIGNATURES_MAX)
		ws->is_long = 1;
	return 0;
}

/* grease_in says which of four values are GREASE: the highest bit of each. */
static __always_inline __u64 grease_in(__u64 four)
{
	__u64 x =
		((four ^ 0x0a0a0a0a0a0a0a0aULL) & 0x0f0f0f0f0f0f0f0fULL) | ((four >> 8 ^ four) & 0x00ff00ff00ff00ffULL);
	return (x - 0x0001000100010001ULL) & ~x & 0x8000800080008000ULL;
}

/* read_signatures reads the signature algorithms (RFC 8446 section 4.2.3). Their order counts, so they are hashed as
 * they lie: four at a time, each hash into the next. */
__noinline int read_signatures(struct stream *s)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	if (!s || !ws || !rt)
		return REASON_INTERNAL;
	struct found_extension *f = &ws->found[FOUND_SIGNATURES];
	__u32 at = f->at, len = f->len;
	if (!len)
		return REASON_CONTINUE;
	__u32 bytes = word_at(s, at);
	if (bytes + 2 != len || bytes & 1)
		return REASON_HELLO_MALFORMED;
	__u32 fours = bytes / 8;
	__u64 sum = (__u64)VALUE_SIGNATURE << 48 | bytes, grease = 0;
	at += 2;
	for (__u32 i = 0; i < HELLO_VALUES / 4 && i < fours; i++) {
		__u64 four = long_at(s, at);
		at += 8;
		sum = mix_four(sum, four, rt->seed[0], rt->seed[1]);
		grease |= grease_in(four);
	}
	__u32 left = (reload(f->len) - 2) & 7; /* of fewer than four: what lies behind them goes */
	__u64 last = left ? long_at(s, at) << (64 - 8 * left & 63) : 0;
	sum = mix_four(sum, last, rt->seed[0], rt->seed[1]);
	grease |= grease_in(last);
	ws->key.signatures = sum;
	ws->is_greased = !!grease;
	len = reload(f->len);
	if (len > 2 + 2 * (grease ? HELLO_VALUES : HELLO_SIGNATURES_MAX))
		ws->is_long = 1; /* JA4_a does not name them */
	return REASON_CONTINUE;
}

static __always_inline bool is_alphanumeric(__u32 c)
{
	return c - '0' < 10 || (c | 0x20) - 'a' < 26;
}

static __always_inline __u8 hex_digit(__u32 nibble)
{
	return nibble + (nibble < 10 ? '0' : 'a' - 10);
}

/* is_grease_protocol says whether the protocol at `at` is GREASE (RFC 8701 section 2: two bytes). */
static __always_inline bool is_grease_protocol(struct stream *s, __u32 at, __u32 end)
{
	return at + 2 < end && byte_at(s, at) == 2 && is_grease(word_at(s, at + 1));
}

/* after_grease returns where the first protocol of a list lies that is not GREASE. Few lists begin with it, so it is no part of
 * read_alpn: its rounds are many. */
__noinline int after_grease(struct stream *s, __u32 at, __u32 end)
{
	if (!s)
		return end;
	for (__u32 i = 0; i < GREASE_PROTOCOLS_MAX && is_grease_protocol(s, at, end); i++) {
		at += 3;
		bounded(at);
	}
	return at;
}

/* read_alpn leaves the two characters of the first protocol (RFC 7301): its first and last where both are ASCII letters or
 * digits, else the first and last hexadecimal digit of the whole. The specification wants GREASE ignored "anywhere", so it
 * is looked past here too, though no published code of it does. */
__noinline int read_alpn(struct stream *s)
{
	struct workspace *ws = get_workspace();
	if (!s || !ws)
		return REASON_INTERNAL;
	__u32 at = ws->found[FOUND_ALPN].at, len = ws->found[FOUND_ALPN].len;
	ws->key.alpn[0] = ws->key.alpn[1] = '0';
	if (!len)
		return REASON_CONTINUE;
	__u32 bytes = word_at(s, at);
	if (bytes + 2 != len)
		return REASON_HELLO_MALFORMED;
	__u32 end = at + len;
	at += 2;
	if (is_grease_protocol(s, at, end))
		at = after_grease(s, at, end);
	__u32 name = at < end ? byte_at(s, at) : 0;
	if (!name)
		return REASON_CONTINUE;
	if (at + 1 + name > end)
		return REASON_HELLO_MALFORMED;
	__u32 first = byte_at(s, at + 1), last = byte_at(s, at + name);
	if (is_alphanumeric(first) && is_alphanumeric(last)) {
		ws->key.alpn[0] = first;
		ws->key.alpn[1] = last;
	} else {
		ws->key.alpn[0] = hex_digit(first >> 4);
		ws->key.alpn[1] = hex_digit(last & 15);
	}
	return REASON_CONTINUE;
}

static __always_inline void forget_hello(struct workspace *ws)
{
	__builtin_memset(&ws->key, 0, sizeof(ws->key));
	ws->extensions_at = ws->extensions_end = ws->is_long = ws->is_greased = 0;
	__builtin_memset(&ws->found, 0, sizeof(ws->found));
}

/* may_read says whether so many values more may be read of the hello, of which `left` may be read for nothing. What nobody vouches
 * for, and is longer than clients' are, has a budget. */
static __always_inline bool may_read(struct workspace *ws, __u32 *left, __u32 values)
{
	if (values <= *left) {
		*left -= values;
		return true;
	}
	*left = VALUES_ALL;
	return may_work(&ws->packet, ws);
}

/* read_lists reads the extensions from `at` up to `end`, and what lies in them. Those of half of the values that are left are
 * read first; a list that goes on is read once more, whole, and what exceeds that is looked at alone. */
static __always_inline int read_lists(struct workspace *ws, struct stream *s, __u32 at, __u32 end, __u32 left)
{
	ws->extensions_at = at;
	ws->extensions_end = end;
	ws->skim_count = left / 2;
	int reason = read_extensions(s, at, end);
	if (!reason && reload(ws->skim_at) < end && left <= VALUES_FREE) {
		if (!may_read(ws, &left, VALUES_ALL))
			return REASON_HELLO_BUSY;
		__builtin_memset(&ws->found, 0, sizeof(ws->found));
		ws->skim_count = HELLO_VALUES;
		reason = read_extensions(s, at, end);
	}
	if (!reason && reload(ws->skim_at) < end) {
		ws->is_long = 1;
		reason = skim_extensions(s, end);
	}
	if (reason || (reason = note_extensions(ws)))
		return reason;
	__u32 values =
		2 * ws->key.extension_count + (ws->found[FOUND_VERSIONS].len + ws->found[FOUND_SIGNATURES].len) / 2;
	if (!may_read(ws, &left, values))
		return REASON_HELLO_BUSY;
	reason = read_versions(s);
	if (reason || (reason = read_signatures(s)))
		return reason;
	if (!reload(ws->is_greased))
		return REASON_CONTINUE;
	if (!may_read(ws, &left, ws->found[FOUND_SIGNATURES].len)) /* twice as dear as what was counted above */
		return REASON_HELLO_BUSY;
	sign_values(s);
	return REASON_CONTINUE;
}

/* read_client_hello reads the body of a ClientHello, s->bytes[at] to s->bytes[end - 1]. */
__noinline int read_client_hello(struct stream *s, __u32 at, __u32 end)
{
	struct workspace *ws = get_workspace();
	if (!s || !ws || end > HELLO_MAX)
		return REASON_INTERNAL;
	forget_hello(ws);
	ws->key.version = word_at(s, at);
	at += 2 + 32; /* version, random */
	if (at >= end)
		return REASON_HELLO_MALFORMED;
	at += 1 + byte_at(s, at); /* session id: TLS allows 32 bytes, Go's servers take as many as there are */
	if (at + 2 > end)
		return REASON_HELLO_MALFORMED;
	__u32 len = word_at(s, at), left = ws->packet.flags & PACKET_PROVEN ? VALUES_ALL : VALUES_FREE;
	at += 2;
	if (len & 1 || at + len + 1 > end)
		return REASON_HELLO_MALFORMED;
	if (!may_read(ws, &left, len / 2))
		return REASON_HELLO_BUSY;
	int reason = read_ciphers(s, at, len / 2);
	if (reason)
		return reason;
	at += len;
	bounded(at);
	at += 1 + byte_at(s, at); /* compression methods */
	if (at > end)
		return REASON_HELLO_MALFORMED;
	if (at == end)
		return read_alpn(s); /* SSL 3.0 and TLS 1.0 may end here */
	if (at + 2 > end)
		return REASON_HELLO_MALFORMED;
	len = word_at(s, at);
	at += 2;
	if (at + len != end)
		return REASON_HELLO_MALFORMED;
	reason = read_lists(ws, s, at, end, left);
	return reason ? reason : read_alpn(s);
}

#endif
