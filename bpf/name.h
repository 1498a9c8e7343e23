/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* name.h makes the name by which the table of flows knows a connection: of IPv4 both addresses and both ports, of IPv6 64 bits of a keyed
 * hash in place of the addresses.
 *
 * Two connections of one name would share a verdict. Whichever two pairs of IPv6 addresses somebody has who does not know the keys, they
 * share the hash once in 2^64, and nothing that leaves the host tells a hash. */
#ifndef SPILLWAY_NAME_H
#define SPILLWAY_NAME_H

#include "hash.h"
#include "maps.h"
#include "wire.h"

/* A call, so that whatever looks up a flow does not grow by the hash. */
static __noinline __u64 ends_of_ipv6(__u64 a, __u64 b, __u64 c, __u64 d)
{
	struct runtime *rt = get_words();
	return rt ? hash_ends(&rt->name_keys, a, b, c, d) : 0;
}

/* name_by makes the name by keys that are at hand; 0: by a call. It is hashed in words of 4 bytes and compared in words of 8, and a load
 * that spans two narrower stores waits for both (plain.h). */
static __always_inline void name_by(struct flow_name *name, const struct flow_key *k, const struct name_keys *keys)
{
	const __be32 *s = k->saddr, *d = k->daddr;
	__u64 ends;
	if (is_ipv4(s) && is_ipv4(d))
		ends = pair64(s[3], d[3]);
	else if (keys)
		ends = hash_ends(keys, pair64(s[0], s[1]), pair64(s[2], s[3]), pair64(d[0], d[1]), pair64(d[2], d[3]));
	else
		ends = ends_of_ipv6(pair64(s[0], s[1]), pair64(s[2], s[3]), pair64(d[0], d[1]), pair64(d[2], d[3]));
	*(__u64 *)name->ends = ends;
	*(__u32 *)&name->sport = *(const __u32 *)&k->sport;
}

static __always_inline void name_flow(struct flow_name *name, const struct flow_key *k)
{
	name_by(name, k, 0);
}

#endif
