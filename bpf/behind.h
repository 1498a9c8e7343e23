/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* behind.h keeps a change of the host file from what was compiled before it. A host file counts at once, for all generations. Where it
 * lets more be blocked, that is on trial with a generation that is compiled for it; all others are behind, and decide as they
 * did:
 *
 *   traffic that became a service's   SERVICE_FRESH      passes
 *   a source that was protected       CLASS_LEAVES       is spared
 *   a reason that is accepted         accepted_before    stays weak
 *   a stronger verdict of a service   most_before        is the weaker one */
#ifndef SPILLWAY_BEHIND_H
#define SPILLWAY_BEHIND_H

#include "authority.h"
#include "packet.h"
#include "slots.h"
#include "source.h"

/* host_in_force returns the host file in force. */
static __always_inline struct host *host_in_force(const struct packet *p)
{
	__u32 zero = 0, slot = control_host(p->control);
	void *inner = bpf_map_lookup_elem(&hosts, &slot);
	return inner ? bpf_map_lookup_elem(inner, &zero) : 0;
}

static __always_inline bool is_behind(const struct generation *g, const struct host *h)
{
	return g->host != h->number;
}

/* passes_fresh says whether a generation has no say on p yet. */
static __always_inline bool passes_fresh(const struct packet *p, const struct generation *g, const struct host *h)
{
	return p->marks & MARK_FRESH && is_behind(g, h);
}

/* spares_leaving says whether p's source is spared by a generation that would block it, for it was protected before. */
static __always_inline bool spares_leaving(const struct packet *p, const struct generation *g, const struct host *h)
{
	return is_behind(g, h) && protection_of(p) & CLASS_LEAVES;
}

/* most_of_service returns the strongest verdict that a generation has at a service, which is below SERVICES_MAX. */
static __always_inline __u32 most_of_service(const struct generation *g, const struct host *h, __u32 service)
{
	const struct service *s = &h->services[service];
	return is_behind(g, h) ? s->most_before : s->most;
}

#endif
