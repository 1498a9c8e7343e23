/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* syn.h reads the options of a SYN into a fingerprint and keeps what the SYN said for its first payload. */
#ifndef SPILLWAY_SYN_H
#define SPILLWAY_SYN_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "hash.h"
#include "maps.h"
#include "packet.h"
#include "settings.h"

#define TCP_OPTIONS_BYTES 40 /* a data offset of 15 words less the header */
#define OPTION_EOL 0
#define OPTION_NOP 1
#define OPTION_MSS 2
#define OPTION_SCALE 3

struct options {
	__u32 len;
	__u8 bytes[64]; /* more than TCP_OPTIONS_BYTES, so that a masked index is always inside */
};

/* read_option reads the option at `at` as number n of the fingerprint and returns where the next one starts,
 * 0 at the end of the list, or a negative number when it cannot be read. */
static __always_inline int read_option(const struct options *o, struct tcp_fingerprint *f, __u32 at, __u32 n)
{
	__u8 kind = o->bytes[at & 63];
	f->kinds[n] = kind;
	f->kind_count = n + 1;
	if (kind == OPTION_EOL)
		return 0;
	if (kind == OPTION_NOP)
		return at + 1;
	if (at + 1 >= o->len)
		return -1;
	__u8 size = o->bytes[(at + 1) & 63];
	if (size < 2 || at + size > o->len)
		return -1;
	if (kind == OPTION_MSS && size == 4) {
		f->mss = (__u16)o->bytes[(at + 2) & 63] << 8 | o->bytes[(at + 3) & 63];
		f->present |= TCP_HAS_MSS;
	} else if (kind == OPTION_SCALE && size == 3) {
		f->scale = o->bytes[(at + 2) & 63];
		f->present |= TCP_HAS_SCALE;
	}
	return at + size;
}

/* read_syn leaves the fingerprint of the SYN in p. A SYN whose options contradict themselves, or number more than
 * TCP_OPTIONS_MAX, has none; that is a reason which rules may score. Format: MuonFP (window:kinds:mss:scale). */
__noinline int read_syn(struct xdp_md *ctx, struct packet *p)
{
	if (!p)
		return REASON_INTERNAL;
	__u32 len = p->options_len;
	struct options options = { .len = len };
	if (len > TCP_OPTIONS_BYTES)
		return REASON_INTERNAL;
	if (len) {
		/* Linux 6.1 does not learn from a test against zero; this says 1 to 64 in its terms and changes nothing. */
		__u32 size = ((len - 1) & 63) + 1;
		if (bpf_xdp_load_bytes(ctx, (p->payload_off - len) & 0xffff, options.bytes, size)) {
			doubt(p, REASON_SYN_OPTIONS);
			return REASON_CONTINUE;
		}
	}
	p->fingerprint.window = p->window;
	__u32 at = 0;
	for (__u32 n = 0; n < TCP_OPTIONS_MAX && at < len; n++) {
		int next = read_option(&options, &p->fingerprint, at, n);
		if (next < 0) {
			doubt(p, REASON_SYN_OPTIONS);
			return REASON_CONTINUE;
		}
		at = next ? next : len;
		/* Forget how we got here: every round then starts from one state, and the verifier sees it once. */
		bounded(at);
		at &= 63;
	}
	if (at < len)
		doubt(p, REASON_SYN_OPTIONS);
	else
		p->flags |= PACKET_HAS_FINGERPRINT;
	return REASON_CONTINUE;
}

static __always_inline __u64 syn_check(__u64 hash, const struct syn_record *r)
{
	const __u64 *words = (const __u64 *)&r->fingerprint;
	__u64 sum = hash ^ pair64(r->isn, r->has_fingerprint);
	for (int i = 0; i < 5; i++) /* fingerprint and facts */
		sum = rotl64(sum, 23) * 0x9e3779b97f4a7c15ULL ^ words[i];
	return sum;
}

/* remember_syn keeps the SYN in its place of the direct-mapped array, over whatever was there. */
static __always_inline void remember_syn(const struct packet *p, const struct runtime *rt)
{
	__u64 hash = hash_flow_key(&p->key, rt->seed[0], rt->seed[1]);
	__u32 index = hash & settings.syn_mask;
	struct syn_record *r = bpf_map_lookup_elem(&syns, &index);
	if (!r)
		return;
	struct syn_record fresh = {
		.isn = p->seq,
		.has_fingerprint = !!(p->flags & PACKET_HAS_FINGERPRINT),
		.fingerprint = p->fingerprint,
		.facts = p->facts,
	};
	fresh.check = syn_check(hash, &fresh);
	*r = fresh;
}

/* begins_at returns whether p carries the byte of sequence number `at`. A stack trims what lies before it, so a payload
 * that starts early is a first payload all the same. */
static __always_inline bool begins_at(const struct packet *p, __u32 at)
{
	return at - p->seq < p->payload_len;
}

/* recall_syn returns whether a SYN with this ISN is remembered for p's connection, and takes over its fingerprint. The
 * ISN is exact, and where a socket knows it, the socket's: a stranger who guesses it only nearly adds nothing. */
static __always_inline bool recall_syn(struct packet *p, const struct runtime *rt, __u32 isn)
{
	__u64 hash = hash_flow_key(&p->key, rt->seed[0], rt->seed[1]);
	__u32 index = hash & settings.syn_mask;
	struct syn_record *r = bpf_map_lookup_elem(&syns, &index);
	if (!r)
		return false;
	struct syn_record copy = *r; /* what is checked is what is used */
	if (copy.check != syn_check(hash, &copy) || copy.isn != isn)
		return false;
	p->facts = copy.facts;
	if (copy.has_fingerprint) {
		p->fingerprint = copy.fingerprint;
		p->flags |= PACKET_HAS_FINGERPRINT;
	}
	return true;
}

#endif
