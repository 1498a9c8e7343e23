/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* proxy.h steps over the header that a balancer puts in front of a connection (the PROXY protocol of HAProxy,
 * doc/proxy-protocol.txt, versions 1 and 2), where the service says that there is one:
 *
 *   "PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\n"                at most 107 bytes
 *   │ 0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a │ 2x │ family │ length │  so many bytes
 *   0                                     12   13       14       16
 *
 * Nothing in it is used: the source that rules see is the balancer's. */
#ifndef SPILLWAY_PROXY_H
#define SPILLWAY_PROXY_H

#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "packet.h"
#include "slots.h"
#include "stream.h"

#define PROXY_LINE_MAX 107
#define PROXY_HEADER 16
#define PROXY_COMMANDS 0x20 /* version 2, LOCAL or PROXY */
/* The first bytes of both, the first of them the lowest. */
#define PROXY_LINE 0x2059584f5250ULL /* "PROXY " */
#define PROXY_SIGNATURE 0x510a0d000a0d0a0dULL
#define PROXY_SIGNATURE_END 0x0a544955ULL

/* expects_proxy says whether connections of p's service begin with such a header. */
static __always_inline bool expects_proxy(const struct packet *p)
{
	__u32 zero = 0, slot = control_host(p->control), service = p->service;
	void *inner = bpf_map_lookup_elem(&hosts, &slot);
	struct host *h = inner ? bpf_map_lookup_elem(inner, &zero) : 0;
	bounded(service);
	return h && service < SERVICES_MAX && h->services[service].flags & SERVICE_PROXY_PROTOCOL;
}

/* begins_like says whether the bytes from `at` on are `want`, of which there are size, as far as they came. */
static __always_inline bool begins_like(const struct stream *s, __u32 at, __u32 len, __u64 want, __u32 size)
{
	__u32 came = len > at ? len - at : 0;
	size = came < size ? came : size;
	return !size || !((long_at(s, at) ^ want) << (64 - 8 * size & 63));
}

/* after_line returns where the line of version 1 ends, 0 where it is too long, HELLO_MAX where it goes on. */
static __always_inline __u32 after_line(const struct stream *s, __u32 len)
{
	for (__u32 i = 1; i < PROXY_LINE_MAX; i++) {
		if (i >= len)
			return HELLO_MAX;
		if (word_at(s, i - 1) == 0x0d0a)
			return i + 1;
	}
	return 0;
}

/* step_over_proxy leaves where the TLS records begin of a hello that has not been looked at yet. */
__noinline int step_over_proxy(struct hello *h)
{
	struct workspace *ws = get_workspace();
	if (!h || !ws)
		return REASON_INTERNAL;
	if (h->flat_from)
		return REASON_CONTINUE;
	struct stream *s = (struct stream *)h->bytes;
	__u32 len = h->len, end;
	ws->hello_end = len;
	if (begins_like(s, 0, len, PROXY_LINE, 6)) {
		end = after_line(s, len);
	} else if (begins_like(s, 0, len, PROXY_SIGNATURE, 8) && begins_like(s, 8, len, PROXY_SIGNATURE_END, 4)) {
		if (len > 12 && (byte_at(s, 12) & ~1) != PROXY_COMMANDS)
			return REASON_NOT_HELLO;
		end = len < PROXY_HEADER ? HELLO_MAX : PROXY_HEADER + word_at(s, 14);
		if (len >= PROXY_HEADER && end >= HELLO_MAX)
			return REASON_HELLO_TOO_LONG;
	} else {
		return REASON_NOT_HELLO;
	}
	if (!end)
		return REASON_NOT_HELLO;
	if (end > len)
		return REASON_HELLO_PARTIAL;
	h->flat_from = end;
	return REASON_CONTINUE;
}

#endif
