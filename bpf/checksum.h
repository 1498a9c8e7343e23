/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* checksum.h computes and checks the checksums of IPv4 and TCP (RFC 1071, RFC 9293 section 3.1, RFC 8200 section 8.1). */
#ifndef SPILLWAY_CHECKSUM_H
#define SPILLWAY_CHECKSUM_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "packet.h"
#include "parse.h"
#include "source.h"

/* As many bytes as bpf_csum_diff takes at once on every kernel; enough of them for a packet without segmentation offload. */
#define SUM_PIECE 512
#define SUM_PIECES 128

enum checksum {
	CHECKSUM_RIGHT = 0,
	CHECKSUM_WRONG = 1,
	CHECKSUM_PARTIAL = 2, /* of the pseudo header only: a network card was to add the rest */
	CHECKSUM_UNREAD = 3,
};

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32 & 0xffff) + (sum >> 48);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* add_words sums n 32-bit words in one's complement, unfolded. */
static __always_inline __u64 add_words(__u64 sum, const void *from, int n)
{
	const __u32 *words = from;
	for (int i = 0; i < n; i++)
		sum += words[i];
	return sum;
}

/* add_pseudo_header sums what TCP's checksum covers beside the segment, for both families. The words of an IPv4-mapped address that
 * are zero add nothing, and the ffff of it adds nothing either. */
static __always_inline __u64 add_pseudo_header(const struct flow_key *k, __u32 len)
{
	__u64 sum = add_words(bpf_htonl(len), k->saddr, 4);
	return add_words(sum + bpf_htonl(IPPROTO_TCP), k->daddr, 4);
}

/* sum_frame leaves the sum of n bytes of the frame from `from` on in the workspace. All that a round knows lies there too, so every
 * round starts from one state, and the verifier's work does not grow with their number. */
__noinline int sum_frame(struct xdp_md *ctx, __u32 from, __u32 n)
{
	struct workspace *ws = get_workspace();
	if (!ws)
		return REASON_INTERNAL;
	ws->sum = 0;
	ws->sum_from = from;
	ws->sum_left = n;
	for (int i = 0; i < SUM_PIECES; i++) {
		__u32 left = reload(ws->sum_left);
		if (!left)
			return REASON_CONTINUE;
		__u32 last = left > SUM_PIECE ? SUM_PIECE - 1 : left - 1;
		bounded(last);
		last &= SUM_PIECE - 1;
		*(__u32 *)&ws->piece[last & ~3u] = 0; /* the sum is of whole words */
		if (bpf_xdp_load_bytes(ctx, reload(ws->sum_from) & 0xffff, ws->piece, last + 1))
			return REASON_MALFORMED; /* the frame ends before its headers say */
		ws->sum = (__u32)bpf_csum_diff(0, 0, (__be32 *)ws->piece, (last | 3) + 1, reload(ws->sum));
		ws->sum_from += SUM_PIECE;
		ws->sum_left = left - last - 1;
	}
	return reload(ws->sum_left) ? REASON_TOO_DEEP : REASON_CONTINUE;
}

/* check_segment says, by enum checksum, whether the checksum of p's segment is right, and over IPv4 that of its IP header. Nobody but a
 * sender's own host leaves the sum of the pseudo header there. */
__noinline int check_segment(struct xdp_md *ctx, struct packet *p)
{
	struct workspace *ws = get_workspace();
	if (!p || !ws)
		return CHECKSUM_UNREAD;
	__u32 header = sizeof(struct tcphdr) + p->options_len, len = header + p->payload_len;
	__u32 off = p->payload_off - header, l3 = p->l3_off ? p->l3_off : sizeof(struct ethhdr);
	__be16 check;
	if (is_ipv4(p->key.saddr)) {
		if (sum_frame(ctx, l3, off - l3) || fold(ws->sum))
			return CHECKSUM_WRONG;
	}
	int reason = sum_frame(ctx, off, len);
	if (reason)
		return reason == REASON_MALFORMED ? CHECKSUM_WRONG : CHECKSUM_UNREAD;
	__u64 pseudo = add_pseudo_header(&p->key, len);
	if (!fold(pseudo + ws->sum))
		return CHECKSUM_RIGHT;
	if (bpf_xdp_load_bytes(ctx, (off + __builtin_offsetof(struct tcphdr, check)) & 0xffff, &check, sizeof(check)))
		return CHECKSUM_WRONG;
	return check == (__u16)~fold(pseudo) ? CHECKSUM_PARTIAL : CHECKSUM_WRONG;
}

#endif
