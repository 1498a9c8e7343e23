/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* egress.h lets the answer to a SYN vouch for a connection whose sockets are elsewhere: in a container, another network namespace,
 * on a host behind. A program at the way out of the interface notes both initial sequence numbers of each SYN+ACK; a stranger
 * sees neither, so whose data has them is its client.
 *
 *   client ── SYN ──▶ XDP ─────────────▶ server           syn_answers, by the client's addresses and ports:
 *          ◀───────── spillway_egress ◀── SYN+ACK         ISN = its acknowledgement - 1, ISS = its number
 *          ── ISN + 1, ACK ISS + 1, data ▶ XDP            proven
 */
#ifndef SPILLWAY_EGRESS_H
#define SPILLWAY_EGRESS_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "confirm.h"
#include "hash.h"
#include "maps.h"
#include "packet.h"
#include "service.h"

/* How far ahead of its SYN+ACK a server that speaks first may be: what Linux's connection tracking allows (MAXACKWINCONST). */
#define ANSWER_AHEAD 66000
/* Of the client's stream: where a ClientHello goes on. With the exact acknowledgement a stranger guesses one in 2^50. */
#define ANSWER_REACH 16384

static __always_inline __u64 answer_check(__u64 hash, __u32 isn, __u32 iss)
{
	return rotl64(hash ^ pair64(isn, iss), 23) * 0x9e3779b97f4a7c15ULL;
}

static __always_inline bool asks_egress(const struct packet *p)
{
	struct service *service = service_of(p);
	return service && service->flags & SERVICE_ASKS_EGRESS;
}

/* The headers of a SYN+ACK. One with IP options or extension headers vouches for nobody. */
struct answer4 {
	struct iphdr ip;
	struct tcphdr tcp;
};

struct answer6 {
	struct ipv6hdr ip6;
	struct tcphdr tcp;
};

static __always_inline bool is_syn_ack(const struct tcphdr *tcp)
{
	return tcp->syn && tcp->ack && !tcp->rst && !tcp->fin;
}

/* read_answer4 and read_answer6 leave in p what a SYN+ACK answers: addresses and ports as its client's packets have them. */
static __always_inline bool read_answer4(struct __sk_buff *skb, struct packet *p, __u32 *isn, __u32 *iss)
{
	struct answer4 a;
	if (bpf_skb_load_bytes_relative(skb, 0, &a, sizeof(a), BPF_HDR_START_NET))
		return false;
	if (a.ip.protocol != IPPROTO_TCP || a.ip.ihl != 5 || !is_syn_ack(&a.tcp) || a.ip.frag_off & bpf_htons(0x3fff))
		return false;
	p->key.saddr[2] = p->key.daddr[2] = bpf_htonl(0xffff);
	p->key.saddr[3] = a.ip.daddr;
	p->key.daddr[3] = a.ip.saddr;
	p->key.sport = a.tcp.dest;
	p->key.dport = a.tcp.source;
	*isn = bpf_ntohl(a.tcp.ack_seq) - 1;
	*iss = bpf_ntohl(a.tcp.seq);
	return true;
}

static __always_inline bool read_answer6(struct __sk_buff *skb, struct packet *p, __u32 *isn, __u32 *iss)
{
	struct answer6 a;
	if (bpf_skb_load_bytes_relative(skb, 0, &a, sizeof(a), BPF_HDR_START_NET))
		return false;
	if (a.ip6.nexthdr != IPPROTO_TCP || !is_syn_ack(&a.tcp))
		return false;
	__builtin_memcpy(p->key.saddr, &a.ip6.daddr, sizeof(p->key.saddr));
	__builtin_memcpy(p->key.daddr, &a.ip6.saddr, sizeof(p->key.daddr));
	p->key.sport = a.tcp.dest;
	p->key.dport = a.tcp.source;
	*isn = bpf_ntohl(a.tcp.ack_seq) - 1;
	*iss = bpf_ntohl(a.tcp.seq);
	return true;
}

/* note_answer keeps a SYN+ACK of a service that asks for it. All other packets leave at the first look. */
static __always_inline void note_answer(struct __sk_buff *skb)
{
	struct packet p = {};
	__u32 isn = 0, iss = 0;
	bool is_answer = false;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		is_answer = read_answer4(skb, &p, &isn, &iss);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		is_answer = read_answer6(skb, &p, &isn, &iss);
	if (!is_answer)
		return;
	struct root_words *root = get_root_words();
	struct runtime *rt = get_words();
	if (!root || !rt || is_bypassed(root->bypass_until_ns))
		return;
	p.control = *(volatile __u64 *)&rt->control;
	p.protocol = IPPROTO_TCP;
	if (!find_service(&p, skb->ifindex) || !asks_egress(&p))
		return;
	__u64 hash = hash_flow_key(&p.key, rt->seed[0], rt->seed[1]);
	__u32 index = hash & (SYN_ANSWERS - 1);
	struct syn_answer *answer = bpf_map_lookup_elem(&syn_answers, &index);
	if (!answer)
		return;
	answer->isn = isn;
	answer->iss = iss;
	answer->check = answer_check(hash, isn, iss);
}

/* confirm_answer says whether the answer to a SYN proves p, and leaves the client's ISN in the workspace: p is its first data, or
 * lies in what a ClientHello may take and acknowledges exactly the SYN+ACK. */
__noinline int confirm_answer(struct xdp_md *ctx, struct packet *p)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	__be32 word;
	if (!p || !ws || !rt || !(p->tcp_flags & TCP_BIT_ACK) || !asks_egress(p))
		return CONFIRM_NONE;
	struct flow_key key = p->key;
	__u64 hash = hash_flow_key(&key, rt->seed[0], rt->seed[1]);
	__u32 index = hash & (SYN_ANSWERS - 1);
	struct syn_answer *answer = bpf_map_lookup_elem(&syn_answers, &index);
	__u32 tcp_off = p->payload_off - p->options_len - sizeof(struct tcphdr);
	if (!answer || bpf_xdp_load_bytes(ctx, (tcp_off + 8) & 0xffff, &word, sizeof(word)))
		return CONFIRM_NONE;
	__u32 isn = answer->isn, iss = answer->iss;
	if (answer->check != answer_check(hash, isn, iss))
		return CONFIRM_NONE;
	__u32 ahead = bpf_ntohl(word) - iss - 1, at = p->seq - isn - 1;
	if (!(at == 0 && ahead <= ANSWER_AHEAD) && !(ahead == 0 && at < ANSWER_REACH))
		return CONFIRM_NONE;
	ws->confirmed_isn = isn;
	ws->is_near = 1;
	return CONFIRM_FRESH;
}

#endif
