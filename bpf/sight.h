/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* sight.h says in which sight a connection is seen. A sight ends for everybody when packets may have passed unseen, and for
 * one pair of addresses when a packet of it passed unread. Who began in another sight than today's is never called hidden.
 *
 * It is a sum of counters that only grow, so two moments have the same sight only if nothing grew between them:
 *
 *   words.sight        user space: attach and detach of an interface, a dataplane that is put in force, any bypass
 *   epoch              of the control word: a service may have come or gone with the host file
 *   unread[0]          frames whose addresses cannot be read
 *   unread[addresses]  passing fragments of TCP (the later ones have no ports), and headers deeper than we follow
 *
 * While a bypass is on, or its word not yet cleared, there is no sight: 0. Every writer counts before and after its store,
 * so a packet that still went by the old word has another sight than whoever comes after.
 *
 * What Linux drops ends no sight, nor does what we drop: else a bot would send it to be left alone. */
#ifndef SPILLWAY_SIGHT_H
#define SPILLWAY_SIGHT_H

#include <linux/in.h>

#include "hash.h"
#include "maps.h"
#include "packet.h"
#include "parse.h"
#include "root.h"

#define UNREAD_EVERYWHERE 0

/* unread_index is the place of p's pair of addresses. */
static __always_inline __u32 unread_index(const struct packet *p, const struct runtime *rt)
{
	struct sip s;
	sip_start(&s, rt->seed[1], rt->seed[0]);
	sip_word(&s, pair64(p->key.saddr[0], p->key.saddr[1]));
	sip_word(&s, pair64(p->key.saddr[2], p->key.saddr[3]));
	sip_word(&s, pair64(p->key.daddr[0], p->key.daddr[1]));
	sip_word(&s, pair64(p->key.daddr[2], p->key.daddr[3]));
	return 1 + (__u32)sip_end(&s) % (UNREAD_PLACES - 1);
}

static __always_inline void count_unread(__u32 index)
{
	__u32 *count = bpf_map_lookup_elem(&unread, &index);
	if (count)
		__sync_fetch_and_add(count, 1);
}

/* note_unread ends the sight of p's addresses where p passes and nobody knows which bytes of which connection it has. */
static __always_inline void note_unread(const struct packet *p, const struct runtime *rt)
{
	bool is_deep = p->weak_reason == REASON_TOO_DEEP || p->l4_off > L4_OFF_MASK;
	if (p->outcome == OUTCOME_DROP || p->protocol == IPPROTO_UDP)
		return;
	if (p->flags & PACKET_FRAGMENT || (p->flags & PACKET_ADDRESSES_ONLY && is_deep))
		count_unread(unread_index(p, rt));
}

/* note_unparsed does so for everybody, where not even the addresses are known. */
static __always_inline void note_unparsed(int reason)
{
	if (reason == REASON_TOO_DEEP)
		count_unread(UNREAD_EVERYWHERE);
}

static __always_inline __u32 unread_count(__u32 index)
{
	__u32 *count = bpf_map_lookup_elem(&unread, &index);
	return count ? *(volatile __u32 *)count : 0;
}

/* sight_now returns the sight in which p's connection is seen, 0 for none. The word that user space counts in is read before
 * the bypasses that it was counted for. */
static __always_inline __u32 sight_now(const struct packet *p, const struct runtime *rt)
{
	__u32 sum = (__u32) * (volatile __u64 *)&rt->sight, service = p->service;
	struct root_words *root = get_root_words();
	barrier();
	bounded(service);
	if (!root || *(volatile __u64 *)&root->bypass_until_ns || service >= SERVICES_MAX ||
	    *(volatile __u64 *)&rt->service_bypass_until_ns[service])
		return 0;
	sum += control_epoch(p->control) + unread_count(UNREAD_EVERYWHERE) + unread_count(unread_index(p, rt));
	return sum ? sum : 1;
}

#endif
