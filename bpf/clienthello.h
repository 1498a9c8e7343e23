/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* clienthello.h takes a ClientHello (RFC 8446 section 4.1.2) apart into what JA4 asks for: the values of its lists in the
 * workspace, and the key of its shape.
 *
 * Values are handled without branches, and offsets are forgotten between rounds: the verifier then sees every loop in as
 * many states as it has rounds, and no more. */
#ifndef SPILLWAY_CLIENTHELLO_H
#define SPILLWAY_CLIENTHELLO_H

#include <bpf/bpf_helpers.h>

#include "budget.h"
#include "hash.h"
#include "maps.h"
#include "packet.h"
#include "stream.h"

#define EXTENSION_SERVER_NAME 0
#define EXTENSION_SIGNATURE_ALGORITHMS 13
#define EXTENSION_ALPN 16
#define EXTENSION_SUPPORTED_VERSIONS 43

/* Extensions that come and go with resumption and padding: 0015, 0023, 0029, 002a, 002c. */
#define FLEETING_EXTENSIONS (1ULL << 0x15 | 1ULL << 0x23 | 1ULL << 0x29 | 1ULL << 0x2a | 1ULL << 0x2c)
/* Those that JA4_c leaves out. */
#define UNLISTED_EXTENSIONS (1ULL << EXTENSION_SERVER_NAME | 1ULL << EXTENSION_ALPN)

/* There are no more values; a protocol behind as many is what it says. */
#define GREASE_PROTOCOLS_MAX 16

enum value_kind {
	VALUE_CIPHER = 1,
	VALUE_EXTENSION = 2,
	VALUE_SIGNATURE = 3,
};

/* 1 for what is not GREASE (RFC 8701): both bytes equal, and ?A. */
static __always_inline __u32 is_real(__u32 value)
{
	__u32 nibbles = (value ^ 0x0a0a) & 0x0f0f, halves = (value >> 8 ^ value) & 0xff;
	/* Or clang makes branches of it, and every value four paths. */
	bounded(nibbles);
	bounded(halves);
	__u32 real = -(nibbles | halves) >> 31;
	bounded(real);
	return real;
}

/* 1 when the extension is one of set, all of which are below 64. */
static __always_inline __u32 is_one_of(__u32 type, __u64 set)
{
	__u32 is = (set >> (type & 63)) & (type - 64) >> 31;
	bounded(is);
	return is;
}

/* mix is a keyed hash of one value. Sums of it do not depend on the order; who does not know the key cannot find two
 * sets of values with one sum. */
static __always_inline __u64 mix(__u64 value, __u64 key0, __u64 key1)
{
	__u64 x = (value ^ key0) * (key1 | 1);
	x ^= x >> 32;
	x *= (key0 << 1) | 1;
	x ^= x >> 29;
	x *= 0x9e3779b97f4a7c15ULL;
	return x ^ x >> 32;
}

static __always_inline __u64 mix_value(const struct runtime *rt, enum value_kind kind, __u32 place, __u32 value)
{
	return mix((__u64)kind << 48 | (__u64)place << 16 | value, rt->seed[0], rt->seed[1]);
}

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
	bounded(count); /* here and below: or clang leaves out the constant end of the loop, and Linux 6.1 sees none */
	__u64 sum = 0;
	__u32 n = 0;
	for (__u32 i = 0; i < HELLO_VALUES && i < count; i++) {
		__u32 value = word_at(s, at + 2 * i);
		__u32 real = is_real(value);
		ws->ciphers.values[n & (HELLO_VALUES - 1)] = value;
		sum += mix_value(rt, VALUE_CIPHER, 0, value) & -(__u64)real;
		n += real;
		bounded(n);
	}
	return note_ciphers(ws, sum, n, count);
}

/* 1 when the two are equal. */
static __always_inline __u32 is_equal(__u32 a, __u32 b)
{
	__u32 difference = a ^ b;
	bounded(difference);
	__u32 is = (difference - 1) >> 31;
	bounded(is);
	return is;
}

/* note_extension keeps where the extensions lie that JA4 looks into; place 0 takes all others. Two of one type are illegal
 * (RFC 8446 section 4.2), and which one counts would be anybody's guess. */
static __always_inline void note_extension(struct workspace *ws, __u32 type, __u32 at, __u32 len)
{
	__u32 which = is_equal(type, EXTENSION_ALPN) * FOUND_ALPN |
		      is_equal(type, EXTENSION_SIGNATURE_ALGORITHMS) * FOUND_SIGNATURES |
		      is_equal(type, EXTENSION_SUPPORTED_VERSIONS) * FOUND_VERSIONS;
	ws->found[which & 3].at = at;
	ws->found[which & 3].len = len;
	ws->found[which & 3].times += 1;
	ws->key.sni |= is_equal(type, EXTENSION_SERVER_NAME);
}

struct skimming {
	struct stream *stream;
	__u32 end;
	__u32 reason;
};

/* skim_round looks at one extension more than are kept; 1 ends it. */
static long skim_round(__u32 round, struct skimming *f)
{
	struct workspace *ws = get_workspace();
	if (!ws)
		return 1;
	struct stream *s = f->stream;
	__u32 at = reload(ws->skim_at), type = word_at(s, at), len = word_at(s, at + 2), body = at + 4;
	if (body + len > f->end) {
		f->reason = REASON_HELLO_MALFORMED;
		return 1;
	}
	note_extension(ws, type, body, len);
	reload(ws->skim_at) = body + len;
	reload(ws->skim_count) += is_real(type);
	reload(ws->skim_unstable) += is_one_of(type, FLEETING_EXTENSIONS);
	return body + len >= f->end;
}

/* skim_extensions looks at what is left of a list that is too long, for JA4_a has something to say of it. */
static __always_inline int skim_extensions(struct stream *s, __u32 end)
{
	struct workspace *ws = get_workspace();
	if (!ws || !may_work(&ws->packet, ws))
		return REASON_HELLO_TOO_LONG;
	struct skimming f = { .stream = s, .end = end };
	bpf_loop(HELLO_ROUNDS_MAX, skim_round, &f, 0);
	if (f.reason)
		return f.reason;
	return reload(ws->skim_at) < end ? REASON_HELLO_TOO_LONG : REASON_CONTINUE;
}

static __always_inline __u32 at_most_99(__u32 n)
{
	return n < 99 ? n : 99;
}

/* read_extensions reads the extensions from `at` up to `end`. */
__noinline int read_extensions(struct stream *s, __u32 at, __u32 end)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	if (!s || !ws || !rt)
		return REASON_INTERNAL;
	__u64 sum = 0;
	__u32 count = 0, listed = 0, stable = 0, unstable = 0;
	for (__u32 i = 0; i < HELLO_VALUES && at < end; i++) {
		__u32 type = word_at(s, at), len = word_at(s, at + 2);
		__u32 body = at + 4;
		if (body + len > end)
			return REASON_HELLO_MALFORMED;
		__u32 real = is_real(type);
		__u32 is_listed = real & ~is_one_of(type, UNLISTED_EXTENSIONS);
		__u32 is_fleeting = is_one_of(type, FLEETING_EXTENSIONS);
		note_extension(ws, type, body, len);
		ws->extensions.values[listed & (HELLO_VALUES - 1)] = type;
		ws->stable.values[stable & (HELLO_VALUES - 1)] = type;
		sum += mix_value(rt, VALUE_EXTENSION, 0, type) & -(__u64)is_listed;
		count += real;
		listed += is_listed;
		stable += is_listed & ~is_fleeting;
		unstable += is_fleeting;
		at = body + len;
		bounded(count);
		bounded(listed);
		bounded(stable);
		bounded(unstable);
		bounded(at);
	}
	ws->skim_at = at;
	ws->skim_count = count;
	ws->skim_unstable = unstable;
	if (at < end || count > HELLO_EXTENSIONS_MAX)
		ws->is_long = 1;
	int reason = at < end ? skim_extensions(s, end) : REASON_CONTINUE;
	if (reason)
		return reason;
	count = reload(ws->skim_count);
	unstable = reload(ws->skim_unstable);
	if (ws->found[FOUND_ALPN].times > 1 || ws->found[FOUND_SIGNATURES].times > 1 ||
	    ws->found[FOUND_VERSIONS].times > 1)
		return REASON_HELLO_MALFORMED;
	ws->key.extensions = sum;
	ws->key.extension_count = at_most_99(count);
	ws->key.stable_count = at_most_99(count - unstable);
	ws->listed_count = listed;
	ws->stable_count = stable;
	return REASON_CONTINUE;
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
		value = (value + 1) & -is_real(value);
		if (value > reload(ws->best_version))
			ws->best_version = value;
	}
	if (reload(ws->best_version))
		ws->key.version = ws->best_version - 1;
	return REASON_CONTINUE;
}

/* read_signatures reads the signature algorithms (RFC 8446 section 4.2.3), whose order counts. */
__noinline int read_signatures(struct stream *s)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	if (!s || !ws || !rt)
		return REASON_INTERNAL;
	__u32 at = ws->found[FOUND_SIGNATURES].at, len = ws->found[FOUND_SIGNATURES].len;
	if (!len)
		return REASON_CONTINUE;
	__u32 bytes = word_at(s, at);
	if (bytes + 2 != len || bytes & 1)
		return REASON_HELLO_MALFORMED;
	__u64 sum = 0;
	__u32 n = 0;
	for (__u32 i = 0; i < HELLO_VALUES && 2 * i < bytes; i++) {
		__u32 value = word_at(s, at + 2 + 2 * i);
		__u32 real = is_real(value);
		ws->signatures.values[n & (HELLO_VALUES - 1)] = value;
		sum += mix_value(rt, VALUE_SIGNATURE, n, value) & -(__u64)real;
		n += real;
		bounded(n);
	}
	if (n > HELLO_SIGNATURES_MAX || bytes > 2 * HELLO_VALUES) {
		ws->is_long = 1; /* JA4_a does not name them */
		return REASON_CONTINUE;
	}
	ws->key.signatures = sum;
	ws->signature_count = n;
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

/* after_grease returns where the first protocol of a list lies that is not GREASE (RFC 8701 section 2: two bytes). */
static __always_inline __u32 after_grease(struct stream *s, __u32 at, __u32 end)
{
	for (__u32 i = 0; i < GREASE_PROTOCOLS_MAX; i++) {
		__u32 is_inside = (at + 2 - end) >> 31;
		bounded(is_inside);
		at += 3 * (is_inside & is_equal(byte_at(s, at), 2) & ~is_real(word_at(s, at + 1)));
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
	at = after_grease(s, at + 2, end);
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
	ws->listed_count = ws->stable_count = ws->signature_count = ws->is_long = 0;
	__builtin_memset(&ws->found, 0, sizeof(ws->found));
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
	__u32 len = word_at(s, at);
	at += 2;
	if (len & 1 || at + len + 1 > end)
		return REASON_HELLO_MALFORMED;
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
	if ((reason = read_extensions(s, at, end)) || (reason = read_versions(s)) || (reason = read_signatures(s)))
		return reason;
	return read_alpn(s);
}

#endif
