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

/* What of an extension counts beside its type. */
enum extension_kind {
	EXTENSION_FOUND = 3,    /* enum found */
	EXTENSION_UNLISTED = 4, /* JA4_c leaves it out */
	EXTENSION_FLEETING = 8, /* it comes and goes with resumption and padding: 0015, 0023, 0029, 002a, 002c */
	EXTENSION_SNI = 16,
};

#define EXTENSION_KINDS 64
static const __u8 extension_kinds[EXTENSION_KINDS] = {
	[EXTENSION_SERVER_NAME] = EXTENSION_UNLISTED | EXTENSION_SNI,
	[EXTENSION_SIGNATURE_ALGORITHMS] = FOUND_SIGNATURES,
	[EXTENSION_ALPN] = EXTENSION_UNLISTED | FOUND_ALPN,
	[EXTENSION_SUPPORTED_VERSIONS] = FOUND_VERSIONS,
	[0x15] = EXTENSION_FLEETING,
	[0x23] = EXTENSION_FLEETING,
	[0x29] = EXTENSION_FLEETING,
	[0x2a] = EXTENSION_FLEETING,
	[0x2c] = EXTENSION_FLEETING,
};

static __always_inline __u32 kind_of(__u32 type)
{
	__u32 is_small = (type - EXTENSION_KINDS) >> 31;
	bounded(type);
	bounded(is_small);
	return extension_kinds[type & (EXTENSION_KINDS - 1)] & -is_small;
}

static __always_inline __u32 is_fleeting(__u32 kind)
{
	return kind / EXTENSION_FLEETING & 1;
}

/* note_extension keeps where the extensions lie that JA4 looks into; place 0 takes all others. Two of one type are illegal
 * (RFC 8446 section 4.2), and which one counts would be anybody's guess. */
static __always_inline void note_extension(struct workspace *ws, __u32 kind, __u32 at, __u32 len)
{
	struct found_extension *f = &ws->found[kind & EXTENSION_FOUND];
	f->at = at;
	f->len = len;
	f->times += 1;
	ws->key.sni |= kind / EXTENSION_SNI;
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
	__u32 kind = kind_of(type);
	note_extension(ws, kind, body, len);
	reload(ws->skim_at) = body + len;
	reload(ws->skim_count) += !is_grease(type);
	reload(ws->skim_unstable) += is_fleeting(kind);
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
	__u32 count = uncounted(ws), unstable = uncounted(ws);
	for (__u32 i = 0; i < HELLO_VALUES && i < reload(ws->skim_count) && at < end; i++) {
		__u32 head = head_at(s, at), type = head >> 16, len = head & 0xffff, body = at + 4;
		if (body + len > end)
			return REASON_HELLO_MALFORMED;
		at = body + len;
		bounded(at);
		if (is_grease(type))
			continue;
		count += 1;
		__u32 kind = kind_of(type);
		if (kind) {
			note_extension(ws, kind, body, len);
			unstable += is_fleeting(kind);
			if (kind & EXTENSION_UNLISTED)
				continue;
		}
		sum += mix_value(rt, VALUE_EXTENSION, 0, type);
	}
	ws->skim_at = at;
	ws->skim_count = count;
	ws->skim_unstable = unstable;
	ws->key.extensions = sum;
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
