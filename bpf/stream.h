/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* stream.h reads the bytes of a stream in a workspace. */
#ifndef SPILLWAY_STREAM_H
#define SPILLWAY_STREAM_H

#include <bpf/bpf_endian.h>

#include "packet.h"
#include "workspace.h"

/* An offset is always inside for the verifier; whether it is inside the hello the caller has checked. */
#define STREAM_MASK (HELLO_MAX - 1)

static __always_inline __u32 byte_at(const struct stream *s, __u32 at)
{
	bounded(at); /* or clang knows better, and Linux 6.1 sees no mask */
	return s->bytes[at & STREAM_MASK];
}

/* Through a pointer that is no byte's any more: else clang reads byte by byte. All machines that we run on read words
 * from anywhere. */
static __always_inline const void *place_at(const struct stream *s, __u32 at)
{
	bounded(at);
	return &s->bytes[at & STREAM_MASK];
}

static __always_inline __u32 word_at(const struct stream *s, __u32 at)
{
	const __be16 *word = place_at(s, at);
	return bpf_ntohs(*word);
}

/* Three bytes, the length of a handshake message. */
static __always_inline __u32 length_at(const struct stream *s, __u32 at)
{
	const __be32 *word = place_at(s, at);
	return bpf_ntohl(*word) >> 8;
}

/* Type and length of an extension. */
static __always_inline __u32 head_at(const struct stream *s, __u32 at)
{
	const __be32 *word = place_at(s, at);
	return bpf_ntohl(*word);
}

static __always_inline __u64 long_at(const struct stream *s, __u32 at)
{
	const __u64 *word = place_at(s, at);
	return *word;
}

#endif
