/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* values.h handles one value of a list of a ClientHello.
 *
 * Values are handled without branches, and offsets are forgotten between rounds: the verifier then sees every loop in as
 * many states as it has rounds, and no more. */
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

/* 1 for what is not GREASE (RFC 8701): both bytes equal, and ?A. */
static __always_inline __u32 is_real(__u32 value)
{
	__u32 nibbles = (value ^ 0x0a0a) & 0x0f0f, halves = (value >> 8 ^ value) & 0xff;
	/* Or clang makes branches of it, and every value four paths. */
	bounded(nibbles);
	bounded(halves);
	__u32 real = -(nibbles | halves) >> 31;
	bounded(real);
	return real;
}

/* 1 when the two are equal. */
static __always_inline __u32 is_equal(__u32 a, __u32 b)
{
	__u32 difference = a ^ b;
	bounded(difference);
	__u32 is = (difference - 1) >> 31;
	bounded(is);
	return is;
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

static __always_inline __u64 mix_value(const struct runtime *rt, enum value_kind kind, __u32 place, __u32 value)
{
	return mix((__u64)kind << 48 | (__u64)place << 16 | value, rt->seed[0], rt->seed[1]);
}

#endif
