/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* hash.h holds SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012) over 64-bit words: a
 * stranger who does not know the key cannot choose who shares an index with whom. Beside it MULTILINEAR-HM (Lemire, Kaser: "Strongly
 * universal string hashing is fast", 2014, section 3), which a flow's name is made with: as safe where nobody sees what
 * comes of it, and 16 ns faster. */
#ifndef SPILLWAY_HASH_H
#define SPILLWAY_HASH_H

#include "types.h"

struct sip {
	__u64 v0, v1, v2, v3;
};

static __always_inline __u64 rotl64(__u64 x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static __always_inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotl64(s->v1, 13) ^ s->v0;
	s->v0 = rotl64(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotl64(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotl64(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotl64(s->v1, 17) ^ s->v2;
	s->v2 = rotl64(s->v2, 32);
}

static __always_inline void sip_word(struct sip *s, __u64 word)
{
	s->v3 ^= word;
	sip_round(s);
	s->v0 ^= word;
}

static __always_inline void sip_start(struct sip *s, __u64 key0, __u64 key1)
{
	s->v0 = key0 ^ 0x736f6d6570736575ULL;
	s->v1 = key1 ^ 0x646f72616e646f6dULL;
	s->v2 = key0 ^ 0x6c7967656e657261ULL;
	s->v3 = key1 ^ 0x7465646279746573ULL;
}

/* The length is constant for each use, so it is left out of the last word. */
static __always_inline __u64 sip_end(struct sip *s)
{
	s->v2 ^= 0xff;
	sip_round(s);
	sip_round(s);
	sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* mix64 is quick and no more: for what a stranger gains nothing by steering. */
static __always_inline __u64 mix64(__u64 sum, __u64 word)
{
	sum = (sum ^ word) * 0x9e3779b97f4a7c15ULL;
	return sum ^ sum >> 32;
}

static __always_inline __u64 pair64(__u32 low, __u32 high)
{
	return (__u64)high << 32 | low;
}

static __always_inline __u64 hash_flow_key(const struct flow_key *k, __u64 key0, __u64 key1)
{
	struct sip s;
	sip_start(&s, key0, key1);
	sip_word(&s, pair64(k->saddr[0], k->saddr[1]));
	sip_word(&s, pair64(k->saddr[2], k->saddr[3]));
	sip_word(&s, pair64(k->daddr[0], k->daddr[1]));
	sip_word(&s, pair64(k->daddr[2], k->daddr[3]));
	sip_word(&s, pair64(k->sport, k->dport));
	return sip_end(&s);
}

/* hash_half returns the upper half of a sum of four products: the lower bits of one say little of what was multiplied. */
static __always_inline __u32 hash_half(const __u64 keys[9], __u64 a, __u64 b, __u64 c, __u64 d)
{
	__u64 sum = keys[0];
	sum += (keys[1] + (__u32)a) * (keys[2] + (a >> 32));
	sum += (keys[3] + (__u32)b) * (keys[4] + (b >> 32));
	sum += (keys[5] + (__u32)c) * (keys[6] + (c >> 32));
	sum += (keys[7] + (__u32)d) * (keys[8] + (d >> 32));
	return sum >> 32;
}

static __always_inline __u64 hash_ends(const struct name_keys *keys, __u64 a, __u64 b, __u64 c, __u64 d)
{
	return pair64(hash_half(keys->words[0], a, b, c, d), hash_half(keys->words[1], a, b, c, d));
}

#endif
