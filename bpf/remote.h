/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* remote.h asks who else knows a connection where no socket of this host does: one to a container, another network
 * namespace, a host behind, or one whose handshake rests in a SYN cookie. ESTABLISHED alone says nothing: whoever sends a
 * packet with somebody's addresses and ports finds that state. What strangers cannot know are both sequence numbers, so
 * a packet has to have them.
 *
 *   spillway_payload ─▶ spillway_conntrack ─▶ spillway_payload     a program of its own, see conntrack.h
 */
#ifndef SPILLWAY_REMOTE_H
#define SPILLWAY_REMOTE_H

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "confirm.h"
#include "conntrack.h"
#include "egress.h"
#include "maps.h"
#include "packet.h"
#include "service.h"
#include "settings.h"
#include "syn.h"

/* How far behind a server takes an ACK, and connection tracking too (MAXACKWINCONST). What is not exact may be its
 * client's, to be read here as something that does not count: it is read, and blocks by itself only. */
#define ACK_WINDOW 66000
#define ACK_OFFSET 8 /* in the TCP header */

/* ask_conntrack leaves the packet to the program that asks connection tracking; from there it comes back to the program
 * that runs now. It returns when there is none, or none is asked for this service. */
static __always_inline void ask_conntrack(struct xdp_md *ctx, struct workspace *ws)
{
	struct packet *p = &ws->packet;
	struct service *service = service_of(p);
	struct conntrack *c = get_conntrack();
	if (!service || !(service->flags & SERVICE_ASKS_CONNTRACK) || !c)
		return;
	c->size = fill_tuple((struct bpf_sock_tuple *)c->tuple, p);
	c->next = settings.conntrack_next;
	c->found = 0;
	ws->is_asked = 1;
	bpf_tail_call(ctx, &programs, PROGRAM_CONNTRACK);
}

/* find_voucher asks the sockets of this host for p's connection, and where they know nothing of it, whoever else may. It is
 * called again when the packet comes back. */
static __always_inline void find_voucher(struct xdp_md *ctx, struct workspace *ws)
{
	struct packet *p = &ws->packet;
	bool remote = p->flags & PACKET_REMOTE;
	if (ws->is_asked || is_syn(p) || (p->flags & PACKET_OF_FLOW && !remote))
		return;
	ws->confirmed = CONFIRM_NONE;
	if (!remote)
		find_confirmed(ctx, ws);
	ws->hints = ws->confirmed == CONFIRM_NONE ? HINT_NO_SOCKET : 0;
	if (ws->confirmed == CONFIRM_NONE && asks_egress(p))
		ws->confirmed = confirm_answer(ctx, p);
	if (ws->confirmed == CONFIRM_NONE)
		ask_conntrack(ctx, ws);
}

/* is_open says whether a client's data may be taken: the server has answered, and nobody has ended the connection. A
 * connection that was picked up in the middle has no answer until its server sent something. */
static __always_inline bool is_open(const struct conntrack *c)
{
	return c->found && c->status & IPS_SEEN_REPLY && c->state >= TCP_CONNTRACK_SYN_RECV &&
	       c->state <= TCP_CONNTRACK_CLOSE_WAIT;
}

/* confirm_remote says what whoever was asked knows of p's connection, and leaves its ISN in the workspace. What was read of
 * connection tracking is the state before the packets that are on their way to it. Each of these makes the packet the
 * client's, whom a stranger would have to guess 48 bits and more for:
 *
 *   the ACK is the server's end, and nothing came since a SYN whose ISN we know  any order: a fresh connection
 *   the sequence number is the client's end, the ACK is one that servers take    fresh, or one whose ISN is not known
 */
__noinline int confirm_remote(struct xdp_md *ctx, struct packet *p)
{
	struct workspace *ws = get_workspace();
	struct runtime *rt = get_words();
	struct conntrack *c = get_conntrack();
	__be32 ack;
	if (!p || !ws || !rt || !c || !ws->is_asked || !is_open(c))
		return CONFIRM_NONE;
	__u32 tcp_off = p->payload_off - p->options_len - sizeof(struct tcphdr);
	if (bpf_xdp_load_bytes(ctx, (tcp_off + ACK_OFFSET) & 0xffff, &ack, sizeof(ack)) ||
	    !(p->tcp_flags & TCP_BIT_ACK))
		return CONFIRM_NONE;
	__u32 behind = c->server_end - bpf_ntohl(ack), next = c->client_end;
	if (behind > ACK_WINDOW)
		return CONFIRM_NONE;
	ws->is_near = 1;
	ws->is_doubted = behind > 0;
	ws->confirmed_isn = next - 1;
	bool in_order = p->seq == next;
	if (behind && !in_order)
		return CONFIRM_NONE;
	if (recall_syn(p, rt, next - 1) || c->state == TCP_CONNTRACK_SYN_RECV)
		return CONFIRM_FRESH;
	return in_order ? CONFIRM_TRACKED : CONFIRM_NONE;
}

#endif
