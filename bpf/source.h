/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* source.h answers by source address: is it banned, is it protected, which prefix feature covers it. With prefix.h it
 * is the one place that knows how prefixes are stored. */
#ifndef SPILLWAY_SOURCE_H
#define SPILLWAY_SOURCE_H

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "hash.h"
#include "maps.h"
#include "packet.h"
#include "prefix.h"
#include "slots.h"

/* hash_prefix is a keyed hash of the source's /24 or /48. */
static __always_inline __u64 hash_prefix(const struct packet *p, __u64 key0, __u64 key1)
{
	struct sip s;
	__be32 third = p->key.saddr[3] & bpf_htonl(0xffffff00);
	sip_start(&s, key0, key1);
	if (is_ipv4(p->key.saddr))
		sip_word(&s, third);
	else
		sip_word(&s, pair64(p->key.saddr[0], p->key.saddr[1] & bpf_htonl(0xffff0000)));
	return sip_end(&s);
}

static __always_inline void host_key(struct prefix6_key *key, const __be32 addr[4])
{
	key->prefixlen = 128;
	__builtin_memcpy(key->addr, addr, sizeof(key->addr));
}

static __always_inline bool is_banned(const struct packet *p)
{
	struct prefix6_key key;
	host_key(&key, p->key.saddr);
	struct ban *ban = bpf_map_lookup_elem(&bans, &key);
	return ban && p->now_ns < ban->expires_ns;
}

/* protection_of returns the row of the source in the host's allowlist: its class, with CLASS_LEAVES beside it or not, or CLASS_NONE.
 * A missing map protects nobody: the caller only asks once something else wants to block. */
static __always_inline __u32 protection_of(const struct packet *p)
{
	__u32 slot = control_host(p->control);
	void *allowlist = bpf_map_lookup_elem(&host_allowlist, &slot);
	if (!allowlist)
		return CLASS_NONE;
	struct prefix6_key key;
	host_key(&key, p->key.saddr);
	__u32 *found = bpf_map_lookup_elem(allowlist, &key);
	return found ? *found : CLASS_NONE;
}

/* may_have_row says whether a trie may have a row of p's source, by its bits. */
static __always_inline bool may_have_row(const __u64 bits[FIRST_BYTES], const struct packet *p)
{
	__u32 byte = p->key.saddr[3] & 0xff; /* the first, as addresses lie in memory */
	return is_ipv4(p->key.saddr) ? bits[byte / 64] >> byte % 64 & 1 : bits[FIRST_BYTES - 1] != 0;
}

/* Sources that nothing may block, by their class; CLASS_NONE of all others. */
static __always_inline __u32 is_protected(const struct packet *p)
{
	__u32 class = protection_of(p);
	return class & CLASS_LEAVES ? CLASS_NONE : class;
}

/* is_vouched says whether somebody vouches for the source now. Without any vouch it costs one compare. */
static __always_inline bool is_vouched(const struct packet *p, const struct runtime *rt)
{
	if (p->now_ns >= rt->vouched_until_ns)
		return false;
	struct vouched_key key;
	__builtin_memcpy(key.addr, p->key.saddr, sizeof(key.addr));
	if (!is_ipv4(key.addr))
		key.addr[2] = key.addr[3] = 0;
	__u64 *until_ns = bpf_map_lookup_elem(&vouched, &key);
	return until_ns && p->now_ns < *until_ns;
}

/* class_of says why the source is protected. */
static __always_inline __u32 class_of(const struct packet *p, const struct runtime *rt)
{
	__u32 class = is_protected(p);
	return class ? class : is_vouched(p, rt) ? CLASS_VOUCHED : CLASS_NONE;
}

static __always_inline __u32 prefix4_in(__u32 slot, __u32 address)
{
	void *table = bpf_map_lookup_elem(&prefixes4, &slot);
	return table ? find4_in(table, address) : 0;
}

/* The lookups are functions of their own for the verifier. */
__noinline int find_prefix4(__u32 slot, __u32 address)
{
	return prefix4_in(slot, address);
}

/* find_prefix6 asks, from the longest on, what there is: single addresses, what is between these and a /64 or outside of 2000::/3,
 * and the table. The address comes in two halves, as it lies in memory. */
__noinline int find_prefix6(__u32 slot, __u64 high, __u64 low)
{
	struct prefix6_key key = { .prefixlen = 128, .addr = { (__u32)high, high >> 32, (__u32)low, low >> 32 } };
	void *inner = bpf_map_lookup_elem(&prefixes6_hosts, &slot);
	__u32 *head = inner ? bpf_map_lookup_elem(inner, key.addr) : 0;
	if (head)
		return *head;
	inner = bpf_map_lookup_elem(&prefixes6_far, &slot);
	head = inner ? bpf_map_lookup_elem(inner, &key) : 0;
	if (head)
		return *head;
	__u64 address = bpf_be64_to_cpu(high);
	if (address >> 61 != 1)
		return 0;
	inner = bpf_map_lookup_elem(&prefixes6, &slot);
	return inner ? find6_in(inner, address) : 0;
}

static __always_inline __u32 prefix6_in(__u32 slot, const __be32 addr[4])
{
	return find_prefix6(slot, pair64(addr[0], addr[1]), pair64(addr[2], addr[3]));
}

/* prefix_lookup returns the head of the chain of rules for the longest match, 0 for none. */
static __always_inline __u32 prefix_lookup(const struct packet *p, __u32 slot)
{
	return is_ipv4(p->key.saddr) ? find_prefix4(slot, bpf_ntohl(p->key.saddr[3])) : prefix6_in(slot, p->key.saddr);
}

#endif
