/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* extensions.h walks the extensions of a ClientHello (RFC 8446 section 4.2): which there are, and where those lie that are looked
 * into. */
#ifndef SPILLWAY_EXTENSIONS_H
#define SPILLWAY_EXTENSIONS_H

#include <bpf/bpf_helpers.h>

#include "budget.h"
#include "maps.h"
#include "packet.h"
#include "stream.h"
#include "values.h"

#define EXTENSION_SERVER_NAME 0
#define EXTENSION_SIGNATURE_ALGORITHMS 13
#define EXTENSION_ALPN 16
#define EXTENSION_SUPPORTED_VERSIONS 43

/* Extensions that come and go with resumption and padding: 0015, 0023, 0029, 002a, 002c. */
#define FLEETING_EXTENSIONS (1ULL << 0x15 | 1ULL << 0x23 | 1ULL << 0x29 | 1ULL << 0x2a | 1ULL << 0x2c)
/* Those that JA4_c leaves out. */
#define UNLISTED_EXTENSIONS (1ULL << EXTENSION_SERVER_NAME | 1ULL << EXTENSION_ALPN)

/* 1 when the extension is one of set, all of which are below 64. */
static __always_inline __u32 is_one_of(__u32 type, __u64 set)
{
	__u32 is = (set >> (type & 63)) & (type - 64) >> 31;
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

/* read_extensions reads the extensions from `at` up to `end`, and no more than skim_count of them. */
__noinline int read_extensions(struct stream *s, __u32 at, __u32 end)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	if (!s || !ws || !rt)
		return REASON_INTERNAL;
	__u64 sum = 0;
	__u32 count = 0, listed = 0, stable = 0, unstable = 0;
	for (__u32 i = 0; i < HELLO_VALUES && i < reload(ws->skim_count) && at < end; i++) {
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
	ws->key.extensions = sum;
	ws->listed_count = listed;
	ws->stable_count = stable;
	return REASON_CONTINUE;
}

static __always_inline __u32 at_most_99(__u32 n)
{
	return n < 99 ? n : 99;
}

/* note_extensions keeps what was read of the extensions. */
static __always_inline int note_extensions(struct workspace *ws)
{
	__u32 count = reload(ws->skim_count), unstable = reload(ws->skim_unstable);
	if (count > HELLO_EXTENSIONS_MAX)
		ws->is_long = 1;
	if (ws->found[FOUND_ALPN].times > 1 || ws->found[FOUND_SIGNATURES].times > 1 ||
	    ws->found[FOUND_VERSIONS].times > 1)
		return REASON_HELLO_MALFORMED;
	ws->key.extension_count = at_most_99(count);
	ws->key.stable_count = at_most_99(count - unstable);
	return REASON_CONTINUE;
}

#endif
