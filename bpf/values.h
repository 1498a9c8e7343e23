/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* values.h handles one value of a list of a ClientHello.
 *
 * What rounds count begins at a number that the verifier does not know (uncounted), and offsets are forgotten: what a
 * value was leaves nothing behind, so every loop has no more states than rounds. A branch makes them two a round. */
#ifndef SPILLWAY_VALUES_H
#define SPILLWAY_VALUES_H

#include "hash.h"
#include "maps.h"
#include "verifier.h"

enum value_kind {
	VALUE_CIPHER = 1,
	VALUE_EXTENSION = 2,
	VALUE_SIGNATURE = 3,
};

/* realness is 0 for GREASE (RFC 8701): both bytes equal, and ?A. */
static __always_inline __u32 realness(__u32 value)
{
	__u32 nibbles = (value ^ 0x0a0a) & 0x0f0f, halves = (value >> 8 ^ value) & 0xff;
	__u32 bits = nibbles | halves;
	bounded(bits); /* or clang makes two branches of it, and every value three paths */
	return bits;
}

/* is_grease is a branch, is_real is none. */
static __always_inline bool is_grease(__u32 value)
{
	return !realness(value);
}

static __always_inline __u32 is_real(__u32 value)
{
	__u32 real = -realness(value) >> 31;
	bounded(real);
	return real;
}

/* uncounted is 0, read from memory. */
static __always_inline __u32 uncounted(struct workspace *ws)
{
	reload(ws->nothing) = 0;
	return reload(ws->nothing);
}

/* mix is a keyed hash of one value. Sums of it do not depend on the order; who does not know the key cannot find two
 * sets of values with one sum. */
static __always_inline __u64 mix(__u64 value, __u64 key0, __u64 key1)
{
	__u64 x = (value ^ key0) * (key1 | 1);
	x ^= x >> 32;
	x *= (key0 << 1) | 1;
	x ^= x >> 29;
	x *= 0x9e3779b97f4a7c15ULL;
	return x ^ x >> 32;
}

/* mix_four goes on with a keyed hash of four values as they lie, a half after the other: a stranger chooses all of these bits, and a sum of
 * two products, or one product of all 64, lets the upper ones of a word depend on few bits of a key. */
static __always_inline __u64 mix_four(__u64 sum, __u64 four, __u64 key0, __u64 key1)
{
	sum = mix(sum ^ (__u32)four, key0, key1);
	return mix(sum ^ four >> 32, key1, key0);
}

static __always_inline __u64 mix_value(const struct runtime *rt, enum value_kind kind, __u32 place, __u32 value)
{
	return mix((__u64)kind << 48 | (__u64)place << 16 | value, rt->seed[0], rt->seed[1]);
}

#endif
