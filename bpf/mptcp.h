/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* mptcp.h keeps a connection to plain TCP where the host file says so: over Multipath TCP the order of data is not that of the
 * sequence numbers, and a ClientHello can hide. The options that ask for it become NOPs, so the server answers with TCP, and
 * the client falls back to it (RFC 8684 section 3.1). */
#ifndef SPILLWAY_MPTCP_H
#define SPILLWAY_MPTCP_H

#include <linux/bpf.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "judge.h"
#include "packet.h"
#include "reset.h"
#include "syn.h"

/* Whether a SYN that passes is to pass without them: never where nothing may be blocked. */
static __always_inline bool strips_mptcp(const struct packet *p)
{
	return p->outcome == OUTCOME_PASS && control_mode(p->control) == MODE_ENFORCE &&
	       !agent_lost(p, host_in_force(p));
}

/* is_partial_sum says whether the checksum is that of the pseudo header alone: then a card adds the rest, options included, and
 * it stays right as it is. One in 65,536 whole ones looks the same, so it is asked only where such frames come. */
static __always_inline bool is_partial_sum(struct xdp_md *ctx, const struct packet *p, __u16 check, __u32 len)
{
	__u32 index = ctx->ingress_ifindex;
	struct interface *in = bpf_map_lookup_elem(&interfaces, &index);
	if (!in || !(in->flags & INTERFACE_PARTIAL_SUMS))
		return false;
	__u64 sum = add_words(bpf_htonl(len), p->key.saddr, 4);
	return check == (__u16)~fold(add_words(sum + bpf_htonl(IPPROTO_TCP), p->key.daddr, 4));
}

/* erase_mptcp makes NOPs of the options, as far as Linux reads them, and notes in p that there were some. In a SYN they have
 * 4 bytes (MP_CAPABLE) or 12 (MP_JOIN, and version 0 of MP_CAPABLE); with another length Linux overlooks them. */
static __always_inline void erase_mptcp(struct packet *p, struct syn_header *h, __u32 end)
{
	p->cursor = sizeof(struct tcphdr);
	for (int round = 0; round < TCP_OPTIONS_BYTES; round++) {
		__u32 at = reload(p->cursor);
		if (at >= end)
			break;
		__u32 kind = h->bytes[at & 63], size = h->bytes[(at + 1) & 63];
		if (kind == OPTION_NOP)
			size = 1;
		else if (kind == OPTION_EOL || size < 2 || at + size > end)
			break;
		p->cursor = at + size;
		if (kind != OPTION_MPTCP || (size != 4 && size != 12) || h->bytes[(at + 2) & 63] >> 4 > MPTCP_JOIN)
			continue;
		p->flags |= PACKET_STRIPPED;
		for (int i = 0; i < 4; i++)
			h->bytes[(at + i) & 63] = OPTION_NOP;
		for (int i = 4; i < 12 && size == 12; i++)
			h->bytes[(at + i) & 63] = OPTION_NOP;
	}
}

/* strip_mptcp returns whether it took the options from the frame. Nothing else of it changes but its checksum. */
__noinline int strip_mptcp(struct xdp_md *ctx, struct packet *p)
{
	if (!p || !strips_mptcp(p))
		return 0;
	__u32 len = p->options_len, end = sizeof(struct tcphdr) + len;
	__u32 off = (p->payload_off - end) & 0xffff, size = ((end - 1) & 63) + 1; /* see read_syn */
	struct syn_header header = {};
	if (!len || len > TCP_OPTIONS_BYTES || bpf_xdp_load_bytes(ctx, off, header.bytes, size))
		return 0;
	__u32 before = bpf_csum_diff(0, 0, (__be32 *)header.bytes, 64, 0);
	erase_mptcp(p, &header, end);
	if (!(reload(p->flags) & PACKET_STRIPPED))
		return 0;
	struct tcphdr *tcp = (struct tcphdr *)header.bytes;
	if (!is_partial_sum(ctx, p, tcp->check, end + p->payload_len)) {
		__u32 after = bpf_csum_diff(0, 0, (__be32 *)header.bytes, 64, 0);
		tcp->check = fold((__u64)(__u16)~tcp->check + after + (__u32)~before); /* RFC 1624 */
	}
	return !bpf_xdp_store_bytes(ctx, off, header.bytes, size);
}

#endif
