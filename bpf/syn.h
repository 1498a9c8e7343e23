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
#include "parse.h"
#include "settings.h"
#include "source.h"

/* A TCP header with its options. */
struct syn_header {
	__u8 bytes[128]; /* 60 and more, so that a masked index and what clang makes of it are always inside */
};

static __always_inline __u32 quirk_if(bool so, __u32 quirk)
{
	return so ? quirk : 0;
}

/* read_ip_quirks reads what p0f sees in the IP header. It reads no fragment and no IPv6 extension header. */
__noinline int read_ip_quirks(struct xdp_md *ctx, struct packet *p)
{
	if (!p)
		return REASON_INTERNAL;
	__u32 off = (p->l3_off ? p->l3_off : sizeof(struct ethhdr)) & L3_OFF_MASK; /* parse_plain leaves none */
	__u32 l4_off = p->payload_off - p->options_len - sizeof(struct tcphdr);
	struct tcp_facts *f = &p->facts;
	if (p->flags & PACKET_FRAGMENT)
		return REASON_CONTINUE;
	if (is_ipv4(p->key.saddr)) {
		struct iphdr copy, *ip = header_at(ctx, off, &copy, sizeof(copy));
		if (!ip)
			return REASON_CONTINUE;
		__u16 frag = bpf_ntohs(ip->frag_off);
		bool df = frag & IPV4_DONT_FRAGMENT;
		f->version = 4;
		f->ttl = ip->ttl;
		f->olen = l4_off - off - sizeof(*ip);
		f->quirks |= quirk_if(df, QUIRK_DF) | quirk_if(df && ip->id, QUIRK_ID) |
			     quirk_if(!df && !ip->id, QUIRK_ZERO_ID) | quirk_if(ip->tos & 3, QUIRK_ECN) |
			     quirk_if(frag & IPV4_RESERVED, QUIRK_RESERVED);
		return REASON_CONTINUE;
	}
	struct ipv6hdr copy, *ip6 = header_at(ctx, off, &copy, sizeof(copy));
	if (!ip6 || l4_off != off + sizeof(*ip6))
		return REASON_CONTINUE;
	__u32 word = bpf_ntohl(*(__be32 *)ip6);
	f->version = 6;
	f->ttl = ip6->hop_limit;
	f->quirks |= quirk_if(word >> 20 & 3, QUIRK_ECN) | quirk_if(word & IPV6_FLOW_LABEL, QUIRK_FLOW);
	return REASON_CONTINUE;
}

static __always_inline __u32 header_word(const struct syn_header *h, __u32 at)
{
	return (__u32)h->bytes[at & 63] << 24 | (__u32)h->bytes[(at + 1) & 63] << 16 |
	       (__u32)h->bytes[(at + 2) & 63] << 8 | h->bytes[(at + 3) & 63];
}

/* read_tcp_quirks reads what p0f sees in the fixed TCP header. That ack+ is one bit of the number is p0f's own quirk: its
 * code has & where && was meant. */
static __always_inline void read_tcp_quirks(struct packet *p, const struct syn_header *h)
{
	__u32 urgent = h->bytes[13] & TCP_BIT_URG;
	p->facts.quirks |= quirk_if(h->bytes[13] & TCP_BITS_ECN || h->bytes[12] & TCP_BIT_NONCE, QUIRK_ECN) |
			   quirk_if(!p->seq, QUIRK_ZERO_SEQ) | quirk_if(h->bytes[8] & 1, QUIRK_ACK) |
			   quirk_if(urgent, QUIRK_URG) |
			   quirk_if(!urgent && (h->bytes[18] | h->bytes[19]), QUIRK_URG_POINTER) |
			   quirk_if(h->bytes[13] & TCP_BIT_PUSH, QUIRK_PUSH) | quirk_if(p->payload_len, QUIRK_PAYLOAD);
	if (h->bytes[13] & (TCP_BIT_FIN | TCP_BIT_RST))
		p->facts.version = 0; /* p0f does not take this for a SYN */
}

/* note_option takes the value of the option at `at`, which has `size` bytes and lies within the header. */
static __always_inline void note_option(struct packet *p, const struct syn_header *h, __u8 kind, __u32 at, __u32 size)
{
	struct tcp_fingerprint *f = &p->fingerprint;
	__u32 quirks = 0;
	if (kind == OPTION_MSS && size == 4) {
		f->mss = (__u16)h->bytes[(at + 2) & 63] << 8 | h->bytes[(at + 3) & 63];
		f->present |= TCP_HAS_MSS;
	} else if (kind == OPTION_SCALE && size == 3) {
		f->scale = h->bytes[(at + 2) & 63];
		f->present |= TCP_HAS_SCALE;
		quirks = quirk_if(f->scale > SCALE_MAX, QUIRK_SCALE);
	} else if (kind == OPTION_TIMESTAMPS && size == 10) {
		p->facts.quirks &= ~QUIRK_TIMESTAMP; /* of two the last */
		quirks = header_word(h, at + 2) ? QUIRK_TIMESTAMP : QUIRK_ZERO_TS;
		quirks |= quirk_if(header_word(h, at + 6), QUIRK_PEER_TS);
	} else if (kind == OPTION_MSS || kind == OPTION_SCALE || kind == OPTION_TIMESTAMPS ||
		   (kind == OPTION_SACK_PERMITTED && size != 2) || (kind == OPTION_SACK && (size < 10 || size > 34))) {
		quirks = QUIRK_BAD_OPTIONS;
	}
	p->facts.quirks |= quirks;
}

/* read_option reads the option at `at` as number n of the fingerprint and returns where the next one starts,
 * 0 at the end of the list, or a negative number when it cannot be read. */
static __always_inline int read_option(struct packet *p, const struct syn_header *h, __u32 at, __u32 end, __u32 n)
{
	__u8 kind = h->bytes[at & 63];
	p->fingerprint.kinds[n] = kind;
	p->fingerprint.kind_count = n + 1;
	if (kind == OPTION_EOL)
		return 0;
	if (kind == OPTION_NOP)
		return at + 1;
	if (at + 1 >= end)
		return -1;
	__u32 size = h->bytes[(at + 1) & 63];
	if (size < 2 || at + size > end)
		return -1;
	note_option(p, h, kind, at, size);
	return at + size;
}

/* note_eol reads what follows an EOL at `at`. p0f overlooks the last byte. */
static __always_inline void note_eol(struct packet *p, const struct syn_header *h, __u32 at, __u32 end)
{
	__u32 seen = 0;
	p->facts.eol_pad = end - at - 1;
	for (__u32 i = at + 1; i < 64 && i + 1 < end; i++)
		seen |= h->bytes[i & 63];
	p->facts.quirks |= quirk_if(seen, QUIRK_AFTER_EOL);
}

/* read_syn leaves the fingerprint of the SYN and its facts in p. A SYN whose options contradict themselves, or number more
 * than TCP_OPTIONS_MAX, has no fingerprint; that is a reason which rules may score. Formats: MuonFP
 * (window:kinds:mss:scale) and p0f v3. */
__noinline int read_syn(struct xdp_md *ctx, struct packet *p)
{
	if (!p)
		return REASON_INTERNAL;
	__u32 len = p->options_len;
	struct syn_header header = {};
	if (len > TCP_OPTIONS_BYTES)
		return REASON_INTERNAL;
	__u32 at = sizeof(struct tcphdr), end = at + len;
	/* Linux 6.1 does not learn from a test against zero; this says 1 to 64 in its terms and changes nothing. */
	__u32 size = ((end - 1) & 63) + 1;
	if (bpf_xdp_load_bytes(ctx, (p->payload_off - end) & 0xffff, header.bytes, size)) {
		doubt(p, REASON_SYN_OPTIONS);
		return REASON_CONTINUE;
	}
	p->fingerprint.window = p->window;
	p->facts.options_len = len;
	read_ip_quirks(ctx, p);
	read_tcp_quirks(p, &header);
	for (__u32 n = 0; n < TCP_OPTIONS_MAX && at < end; n++) {
		int next = read_option(p, &header, at, end, n);
		if (next < 0) {
			doubt(p, REASON_SYN_OPTIONS);
			p->facts.quirks |= QUIRK_BAD_OPTIONS;
			return REASON_CONTINUE;
		}
		if (!next) {
			note_eol(p, &header, at, end);
			at = end;
			break;
		}
		/* Forget how we got here: every round then starts from one state, and the verifier sees it once. */
		p->cursor = next;
		at = reload(p->cursor);
	}
	if (at < end) {
		doubt(p, REASON_SYN_OPTIONS);
		p->facts.quirks |= QUIRK_BAD_OPTIONS;
	} else {
		p->flags |= PACKET_HAS_FINGERPRINT;
	}
	return REASON_CONTINUE;
}

/* forget_syn takes back what a remembered SYN said. */
static __always_inline void forget_syn(struct packet *p)
{
	p->flags &= ~PACKET_HAS_FINGERPRINT;
	p->facts.version = 0;
}

static __always_inline __u64 syn_check(__u64 hash, const struct syn_record *r)
{
	const __u64 *words = (const __u64 *)&r->fingerprint;
	__u64 sum = hash ^ pair64(r->isn, r->has_fingerprint);
	for (int i = 0; i < 6; i++) /* fingerprint and facts */
		sum = rotl64(sum, 23) * 0x9e3779b97f4a7c15ULL ^ words[i];
	return sum;
}

/* sight_mask hides the sight in a record: that of another connection, or of a record that two processors wrote at once, is
 * a number that no sight has. */
static __always_inline __u32 sight_mask(__u64 hash, __u32 isn)
{
	return (__u32)(hash >> 32) ^ isn * 0x9e3779b9U;
}

/* remember_syn keeps the SYN in its place of the direct-mapped array, over whatever was there. What came behind a SYN is
 * not unseen because it comes once more. */
static __always_inline void remember_syn(const struct packet *p, const struct runtime *rt, __u32 sight)
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
	fresh.sight = sight_mask(hash, p->seq);
	if (r->isn != p->seq || r->sight != fresh.sight)
		fresh.sight ^= sight;
	*r = fresh;
}

/* begins_at returns whether p carries the byte of sequence number `at`. A stack trims what lies before it, so a payload
 * that starts early is a first payload all the same. */
static __always_inline bool begins_at(const struct packet *p, __u32 at)
{
	return at - p->seq < p->payload_len;
}

/* recall_syn returns whether a SYN with this ISN is remembered for p's connection, and takes over its fingerprint and, for the
 * first data, its sight. The
 * ISN is exact, and where a socket knows it, the socket's: a stranger who guesses it only nearly adds nothing. */
static __always_inline bool recall_syn(struct packet *p, const struct runtime *rt, __u32 isn)
{
	__u64 hash = hash_flow_key(&p->key, rt->seed[0], rt->seed[1]);
	__u32 index = hash & settings.syn_mask;
	struct syn_record *r = bpf_map_lookup_elem(&syns, &index);
	if (!r)
		return false;
	struct syn_record copy = *r; /* what is checked is what is used */
	__u32 sight = copy.sight;
	copy.sight = 0; /* it has a mask instead */
	if (copy.check != syn_check(hash, &copy) || copy.isn != isn)
		return false;
	p->facts = copy.facts;
	p->sight = sight ^ sight_mask(hash, isn);
	if (p->payload_len) /* from here on its flow says what was seen, or nobody does: it may be evicted */
		*(volatile __u32 *)&r->sight = sight_mask(hash, isn);
	if (copy.has_fingerprint) {
		p->fingerprint = copy.fingerprint;
		p->flags |= PACKET_HAS_FINGERPRINT;
	}
	return true;
}

#endif
