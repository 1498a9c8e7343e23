/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* sha256.h holds SHA-256 (FIPS 180-4) of the text in a workspace. */
#ifndef SPILLWAY_SHA256_H
#define SPILLWAY_SHA256_H

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "packet.h"

#define SHA256_BLOCK 64
/* Of 99 extensions and 64 signature algorithms at five characters each, with padding. */
#define SHA256_BLOCKS_MAX 13

static const __u32 sha256_k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* BPF has no rotation: of a word that stands twice side by side, a shift is one. */
static __always_inline __u64 twice(__u32 x)
{
	return (__u64)x << 32 | x;
}

static __always_inline __u32 sum0(__u32 a)
{
	__u64 x = twice(a);
	return x >> 2 ^ x >> 13 ^ x >> 22;
}

static __always_inline __u32 sum1(__u32 e)
{
	__u64 x = twice(e);
	return x >> 6 ^ x >> 11 ^ x >> 25;
}

static __always_inline __u32 sigma0(__u32 w)
{
	__u64 x = twice(w);
	return (__u32)(x >> 7 ^ x >> 18) ^ w >> 3;
}

static __always_inline __u32 sigma1(__u32 w)
{
	__u64 x = twice(w);
	return (__u32)(x >> 17 ^ x >> 19) ^ w >> 10;
}

/* sha256_block adds the block at text[at]. */
__noinline int sha256_block(__u32 at)
{
	struct workspace *ws = get_workspace();
	if (!ws || at > HELLO_TEXT)
		return 0;
	const void *block = &ws->text[at];
	volatile __u32 *w = ws->schedule; /* or clang spills all sixteen */
	for (int i = 0; i < 16; i++)
		w[i] = bpf_ntohl(((const __be32 *)block)[i]);
	__u32 a = ws->sha[0], b = ws->sha[1], c = ws->sha[2], d = ws->sha[3];
	__u32 e = ws->sha[4], f = ws->sha[5], g = ws->sha[6], h = ws->sha[7];
#pragma clang loop unroll(disable)
	for (int round = 0; round < 64; round += 16) {
		const __u32 *k = &sha256_k[round];
		if (round) {
#pragma clang loop unroll(full)
			for (int i = 0; i < 16; i++)
				w[i] += sigma0(w[(i + 1) & 15]) + w[(i + 9) & 15] + sigma1(w[(i + 14) & 15]);
		}
#pragma clang loop unroll(full)
		for (int i = 0; i < 16; i++) {
			__u32 t = h + sum1(e) + (g ^ (e & (f ^ g))) + k[i] + w[i];
			__u32 last = t + sum0(a) + ((a & b) | (c & (a | b)));
			h = g, g = f, f = e, e = d + t, d = c, c = b, b = a, a = last;
		}
	}
	ws->sha[0] += a, ws->sha[1] += b, ws->sha[2] += c, ws->sha[3] += d;
	ws->sha[4] += e, ws->sha[5] += f, ws->sha[6] += g, ws->sha[7] += h;
	return 0;
}

/* sha256_text leaves the SHA-256 of the first len bytes of text in sha. It writes over what follows them. */
__noinline int sha256_text(__u32 len)
{
	struct workspace *ws = get_workspace();
	if (!ws || len > SHA256_BLOCKS_MAX * SHA256_BLOCK - 9)
		return 0;
	ws->sha[0] = 0x6a09e667, ws->sha[1] = 0xbb67ae85, ws->sha[2] = 0x3c6ef372, ws->sha[3] = 0xa54ff53a;
	ws->sha[4] = 0x510e527f, ws->sha[5] = 0x9b05688c, ws->sha[6] = 0x1f83d9ab, ws->sha[7] = 0x5be0cd19;
	void *end = &ws->text[len];
	for (int i = 0; i < 9; i++)
		((__u64 *)end)[i] = i ? 0 : 0x80;
	__u32 blocks = (len + 9 + SHA256_BLOCK - 1) / SHA256_BLOCK;
	bounded(blocks);
	if (!blocks || blocks > SHA256_BLOCKS_MAX)
		return 0;
	bounded(blocks);
	void *bits = &ws->text[blocks * SHA256_BLOCK - 4];
	*(__be32 *)bits = bpf_htonl(len * 8);
	for (__u32 i = 0; i < SHA256_BLOCKS_MAX && i < blocks; i++)
		sha256_block(i * SHA256_BLOCK);
	return 0;
}

#endif
