/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* signature.h finds the p0f v3 signature that a SYN fits (p0f docs/README section 5). Fuzzy matches are none. */
#ifndef SPILLWAY_SIGNATURE_H
#define SPILLWAY_SIGNATURE_H

#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "packet.h"
#include "slots.h"

/* p0f believes no more hops. */
#define HOPS_MAX 35
/* Below this p0f does not look for multiples of the segment size. */
#define MULTIPLE_MSS_MIN 100
#define TIMESTAMP_BYTES 12
#define ETHERNET_MTU 1500
#define HEADERS4 40
#define HEADERS6 60

static __always_inline __u32 multiple(enum tcp_window kind, __u32 window, __u32 size)
{
	return size && !(window % size) ? kind << 16 | window / size : 0;
}

/* window_multiple returns how p0f writes the window, kind and multiple, or 0 for a plain number. The order of the trials is
 * p0f's, which decides where several fit. */
__noinline __u32 window_multiple(struct packet *p)
{
	if (!p)
		return 0;
	__u32 window = p->fingerprint.window, mss = p->fingerprint.mss, found;
	bool is6 = p->facts.version == 6;
	__u32 headers = (is6 ? HEADERS6 : HEADERS4 + p->facts.olen) + p->facts.options_len;
	if (!window || mss < MULTIPLE_MSS_MIN)
		return 0;
	if ((found = multiple(WINDOW_MSS, window, mss)))
		return found;
	if (p->facts.quirks & QUIRK_TIMESTAMP && (found = multiple(WINDOW_MSS, window, mss - TIMESTAMP_BYTES)))
		return found;
	if ((found = multiple(WINDOW_MSS, window, ETHERNET_MTU - HEADERS4)) ||
	    (found = multiple(WINDOW_MSS, window, ETHERNET_MTU - HEADERS4 - TIMESTAMP_BYTES)))
		return found;
	if (is6 && ((found = multiple(WINDOW_MSS, window, ETHERNET_MTU - HEADERS6)) ||
		    (found = multiple(WINDOW_MSS, window, ETHERNET_MTU - HEADERS6 - TIMESTAMP_BYTES))))
		return found;
	if ((found = multiple(WINDOW_MTU, window, mss + HEADERS4)) ||
	    (found = multiple(WINDOW_MTU, window, mss + headers)))
		return found;
	if (is6 && (found = multiple(WINDOW_MTU, window, mss + HEADERS6)))
		return found;
	return multiple(WINDOW_MTU, window, ETHERNET_MTU);
}

static __always_inline bool fits_window(const struct packet *p, const struct tcp_signature *s, __u32 multiple)
{
	switch (s->window_kind) {
	case WINDOW_ANY:
		return true;
	case WINDOW_VALUE:
		return s->window == p->fingerprint.window;
	case WINDOW_MODULO:
		return s->window && !(p->fingerprint.window % s->window);
	}
	return multiple == ((__u32)s->window_kind << 16 | s->window);
}

static __always_inline bool fits(const struct packet *p, const struct tcp_signature *s, __u32 multiple)
{
	const struct tcp_facts *f = &p->facts;
	if ((f->quirks & s->quirks_mask) != s->quirks || f->olen != s->olen || f->ttl > s->ttl)
		return false;
	if (!(s->flags & SIGNATURE_RANDOM_TTL) && s->ttl - f->ttl > HOPS_MAX)
		return false;
	if (!(s->flags & SIGNATURE_ANY_MSS) && s->mss != p->fingerprint.mss)
		return false;
	if (!(s->flags & SIGNATURE_ANY_SCALE) && s->scale != p->fingerprint.scale)
		return false;
	return fits_window(p, s, multiple);
}

/* match_signature returns the head of the chain of the first signature that the SYN fits, 0 for none, and leaves which families
 * send its layout. */
__noinline __u32 match_signature(struct packet *p)
{
	if (!p)
		return 0;
	__u32 slot = p->slot;
	struct tcp_layout key = {
		.version = p->facts.version,
		.kind_count = p->fingerprint.kind_count,
		.eol_pad = p->facts.eol_pad,
	};
	__builtin_memcpy(key.kinds, p->fingerprint.kinds, sizeof(key.kinds));
	p->families = 0;
	void *layouts = bpf_map_lookup_elem(&tcp_layouts, &slot);
	struct tcp_signatures *all = layouts ? bpf_map_lookup_elem(layouts, &key) : 0;
	if (!all)
		return 0;
	p->families = all->families[p->facts.ttl <= 64 ? 0 : p->facts.ttl <= 128 ? 1 : 2];
	__u32 multiple = window_multiple(p);
	for (int i = 0; i < TCP_SIGNATURES_MAX; i++) {
		const struct tcp_signature *s = &all->candidates[i];
		if (!s->head)
			break;
		if (fits(p, s, multiple))
			return s->head;
	}
	return 0;
}

#endif
