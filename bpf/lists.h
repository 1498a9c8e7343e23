/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* lists.h keeps the lists of the ClientHello that was read last, in its own order, for ja4.h to sort and hash. They are
 * looked at a second time for that, and only of a new shape: a known one needs their sums alone. */
#ifndef SPILLWAY_LISTS_H
#define SPILLWAY_LISTS_H

#include <bpf/bpf_helpers.h>

#include "extensions.h"
#include "maps.h"
#include "stream.h"
#include "values.h"

/* list_values keeps what of `count` values from `at` on is no GREASE, and returns how many. */
__noinline int list_values(struct stream *s, __u32 at, __u32 count, struct hello_values *list)
{
	struct workspace *ws = get_workspace();
	if (!s || !ws || !list)
		return 0;
	__u32 n = uncounted(ws);
	bounded(count);
	for (__u32 i = 0; i < HELLO_VALUES && i < count; i++) {
		__u32 value = word_at(s, at);
		at += 2;
		list->values[n & (HELLO_VALUES - 1)] = value;
		n += is_real(value);
	}
	return n;
}

/* list_extensions keeps the types of extensions that JA4_c lists, and of those that the stable one does. */
__noinline int list_extensions(struct stream *s)
{
	struct workspace *ws = get_workspace();
	if (!s || !ws)
		return 0;
	__u32 at = ws->extensions_at, end = ws->extensions_end, listed = uncounted(ws), stable = uncounted(ws);
	for (__u32 i = 0; i < HELLO_VALUES && at < end; i++) {
		__u32 head = head_at(s, at), type = head >> 16, kind = kind_of(type);
		at += 4 + (head & 0xffff);
		bounded(at);
		__u32 is_listed = is_real(type) & ~(kind / EXTENSION_UNLISTED);
		ws->extensions.values[listed & (HELLO_VALUES - 1)] = type;
		ws->stable.values[stable & (HELLO_VALUES - 1)] = type;
		listed += is_listed;
		stable += is_listed & ~is_fleeting(kind);
	}
	ws->listed_count = listed;
	ws->stable_count = stable;
	return 0;
}

/* list_hello keeps all of them. Those of SSL 2.0 were kept when they were read. */
__noinline int list_hello(struct stream *s)
{
	struct workspace *ws = get_workspace();
	if (!s || !ws)
		return 0;
	if (!ws->hello_is_sslv2)
		list_values(s, ws->ciphers_at, ws->ciphers_count, &ws->ciphers);
	list_extensions(s);
	const struct found_extension *f = &ws->found[FOUND_SIGNATURES];
	ws->signature_count = f->len ? list_values(s, f->at + 2, f->len / 2 - 1, &ws->signatures) : 0;
	return 0;
}

#endif
