/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* sslv2.h reads a ClientHello in the format of SSL 2.0, which asks for a later version (RFC 5246 appendix E.2). GnuTLS serves
 * it, also behind change_cipher_spec, and OpenSSL reads it:
 *
 *   │ 80 length │ 1 │ version │ lengths of specs, session, challenge │ specs, three bytes each │ session │ challenge │ more
 *   0           2   3         5                                     11
 *
 * Its JA4 is that of the same hello in today's format: the version as it says it, the specs that begin with 00, which are the
 * cipher suites of TLS, and no extensions. */
#ifndef SPILLWAY_SSLV2_H
#define SPILLWAY_SSLV2_H

#include <bpf/bpf_helpers.h>

#include "clienthello.h"
#include "stream.h"

#define SSLV2_MARK 0x80
#define SSLV2_CLIENT_HELLO 1
#define SSLV2_HEADER 11
#define SSLV2_SPEC 3

/* find_sslv2 finds such a hello at `at` of the first len bytes of a stream. GnuTLS overlooks what follows the challenge. */
__noinline int find_sslv2(struct stream *s, __u32 at, __u32 len)
{
	struct workspace *ws = get_workspace();
	if (!s || !ws)
		return REASON_INTERNAL;
	if (len > at + 2 && byte_at(s, at + 2) != SSLV2_CLIENT_HELLO)
		return REASON_NOT_HELLO;
	if (len < at + SSLV2_HEADER)
		return REASON_HELLO_PARTIAL;
	__u32 end = at + 2 + (word_at(s, at) & 0x7fff), specs = word_at(s, at + 5);
	if (specs % SSLV2_SPEC || at + SSLV2_HEADER + specs + word_at(s, at + 7) + word_at(s, at + 9) > end)
		return REASON_HELLO_MALFORMED;
	if (end > HELLO_MAX)
		return REASON_HELLO_TOO_LONG;
	if (end > len)
		return REASON_HELLO_PARTIAL;
	ws->hello_end = ws->hello_body_end = end;
	ws->hello_at = at + 3;
	ws->hello_is_split = 0;
	ws->hello_is_sslv2 = 1;
	return REASON_CONTINUE;
}

/* list_spec is one round of read_sslv2: what moves is in the workspace, so that the verifier sees one round. */
static long list_spec(__u32 round, struct stream **stream)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	struct stream *s = *stream;
	if (!ws || !rt || round >= reload(ws->ciphers_count))
		return 1;
	__u32 at = reload(ws->ciphers_at) + SSLV2_SPEC * round, value = word_at(s, at + 1), n = reload(ws->round_count);
	if (byte_at(s, at) || is_grease(value))
		return 0;
	ws->ciphers.values[n & (HELLO_VALUES - 1)] = value;
	reload(ws->round_sum) += mix_value(rt, VALUE_CIPHER, 0, value);
	reload(ws->round_count) = n + 1;
	return 0;
}

/* read_sslv2 reads the hello whose version is at `at`. Few clients send one, so its list is kept at once. */
__noinline int read_sslv2(struct stream *s, __u32 at)
{
	struct workspace *ws = get_workspace();
	if (!s || !ws)
		return REASON_INTERNAL;
	forget_hello(ws);
	ws->key.version = word_at(s, at);
	ws->key.alpn[0] = ws->key.alpn[1] = '0';
	__u32 count = word_at(s, at + 2) / SSLV2_SPEC,
	      left = ws->packet.flags & PACKET_PROVEN ? VALUES_ALL : VALUES_FREE;
	if (!may_read(ws, &left, count))
		return REASON_HELLO_BUSY;
	ws->ciphers_at = at + SSLV2_HEADER - 3;
	ws->ciphers_count = count;
	ws->round_sum = ws->round_count = 0;
	bpf_loop(HELLO_VALUES, list_spec, &s, 0);
	return note_ciphers(ws, reload(ws->round_sum), reload(ws->round_count), count);
}

#endif
