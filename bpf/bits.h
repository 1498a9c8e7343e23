/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* bits.h asks and changes bitmaps of a hello, of one bit for each byte, 64 at a time. */
#ifndef SPILLWAY_BITS_H
#define SPILLWAY_BITS_H

#include <bpf/bpf_helpers.h>

#include "packet.h"
#include "types.h"

#define HELLO_WORDS (HELLO_MAX / 64)

static __always_inline __u64 bit_word(const struct hello_bits *b, __u32 at)
{
	bounded(at);
	return b->words[at / 64 & (HELLO_WORDS - 1)];
}

static __always_inline bool has_bit(const struct hello_bits *b, __u32 at)
{
	return bit_word(b, at) >> (at & 63) & 1;
}

/* By the upper six bits of a product with a de Bruijn sequence (Leiserson, Prokop, Randall: "Using de Bruijn sequences to index a
 * 1 in a computer word", 1998): BPF has no instruction that counts zeros. */
#define DE_BRUIJN 0x03f79d71b4cb0a89ULL
static const __u8 de_bruijn_place[64] = {
	0,  1,  48, 2,  57, 49, 28, 3,  61, 58, 50, 42, 38, 29, 17, 4,  62, 55, 59, 36, 53, 51,
	43, 22, 45, 39, 33, 30, 24, 18, 12, 5,  63, 47, 56, 27, 60, 41, 37, 16, 54, 35, 52, 21,
	44, 32, 23, 11, 46, 26, 40, 15, 34, 20, 31, 10, 25, 14, 19, 9,  13, 8,  7,  6,
};

/* lowest_bit returns the place of the lowest bit of a word that is not zero. */
static __always_inline __u32 lowest_bit(__u64 word)
{
	__u32 index = (word & -word) * DE_BRUIJN >> 58;
	bounded(index);
	return de_bruijn_place[index & 63];
}

/* next_bit returns the first offset from `from` to `end` whose bit is not `skipped`, and end where there is none. */
__noinline int next_bit(struct hello_bits *b, __u32 from, __u32 end, __u32 skipped)
{
	if (!b)
		return 0;
	__u64 flip = -(__u64)(skipped & 1), word = 0;
	__u64 keep = ~0ULL << (from & 63);
	for (__u32 i = 0; i < HELLO_WORDS + 1 && from < end; i++) {
		word = (bit_word(b, from) ^ flip) & keep;
		keep = ~0ULL;
		if (word)
			break;
		from = (from | 63) + 1;
		bounded(from);
	}
	if (!word || from >= end)
		return end;
	from = (from & ~63U) + lowest_bit(word);
	return from < end ? from : end;
}

static __always_inline __u32 count_word(__u64 word)
{
	word -= word >> 1 & 0x5555555555555555ULL;
	word = (word & 0x3333333333333333ULL) + (word >> 2 & 0x3333333333333333ULL);
	word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return word * 0x0101010101010101ULL >> 56;
}

/* The bits from `from` on that lie in its word, in front of end. */
static __always_inline __u64 mask_word(__u32 from, __u32 end)
{
	__u32 beyond = (from | 63) + 1 - end, is_within = (__s32)beyond >> 31;
	bounded(is_within);   /* or clang sees a maximum, and writes a branch: two paths of each round */
	beyond &= ~is_within; /* 0 but for the last word */
	bounded(beyond);
	return ~0ULL << (from & 63) & ~0ULL >> (beyond & 63);
}

/* count_bits returns how many bits from `from` to `end` are set. */
__noinline int count_bits(struct hello_bits *b, __u32 from, __u32 end)
{
	if (!b)
		return 0;
	__u32 n = 0;
	for (__u32 i = 0; i < HELLO_WORDS + 1 && from < end; i++) {
		n += count_word(bit_word(b, from) & mask_word(from, end));
		from = (from | 63) + 1;
		bounded(from);
		bounded(n);
	}
	return n;
}

/* nth_bit returns the n-th offset, n from 1 on, of those from `from` to `end` whose bits are set; end where there are fewer. */
__noinline int nth_bit(struct hello_bits *b, __u32 from, __u32 end, __u32 n)
{
	if (!b)
		return 0;
	__u64 word = 0;
	for (__u32 i = 0; i < HELLO_WORDS + 1 && from < end; i++) {
		word = bit_word(b, from) & mask_word(from, end);
		__u32 count = count_word(word);
		if (count >= n)
			break;
		n -= count;
		word = 0;
		from = (from | 63) + 1;
		bounded(from);
		bounded(n);
	}
	if (!word)
		return end;
	for (__u32 i = 0; i < 63 && n > 1; i++) {
		word &= word - 1;
		n -= 1;
		bounded(word);
		bounded(n);
	}
	return (from & ~63U) + lowest_bit(word);
}

/* write_bits makes the bits of `from` to `end` what `value` says. */
__noinline int write_bits(struct hello_bits *b, __u32 from, __u32 end, __u32 value)
{
	if (!b)
		return 0;
	__u64 bits = -(__u64)(value & 1);
	for (__u32 i = 0; i < HELLO_WORDS + 1 && from < end; i++) {
		__u64 mask = mask_word(from, end);
		bounded(from);
		__u64 *word = &b->words[from / 64 & (HELLO_WORDS - 1)];
		*word = (*word & ~mask) | (bits & mask);
		from = (from | 63) + 1;
		bounded(from);
	}
	return 0;
}

#endif
