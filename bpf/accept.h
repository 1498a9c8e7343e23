/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* accept.h says whether the socket of a segment would take its bytes into the stream, as Linux decides it (6.1 to 6.18:
 * tcp_rcv_established, tcp_validate_incoming, tcp_ack, tcp_check_req; RFC 9293 section 3.10.7.4, RFC 7323 section 5, RFC 5961,
 * RFC 2385). A connection is blocked for bytes that its server reads, and for no others.
 *
 * What is read of a socket is its state before the packets that are still on their way to it. So there are two kinds of no: one
 * that no packet before this one can change, and one that its sender might have arranged for by the packets in front of it. */
#ifndef SPILLWAY_ACCEPT_H
#define SPILLWAY_ACCEPT_H

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "checksum.h"
#include "confirm.h"
#include "kernel.h"
#include "maps.h"
#include "packet.h"
#include "syn.h"

enum acceptance {
	ACCEPTED = 0,
	REFUSED = 1,  /* for good: whatever comes before it */
	DOUBTED = 2,  /* refused as the socket stands now */
	PARTLY = 3,   /* taken but for its first bytes, which the socket has already */
	UNSUMMED = 4, /* its checksum was its sender's card to make, on an interface where no such sender is known */
	UNKNOWN = 5,  /* no socket, or none that can be asked; a part of a packet */
};

enum segment_options {
	SEGMENT_TIMESTAMPS = 1,
	SEGMENT_MD5 = 2, /* RFC 2385 */
	SEGMENT_AO = 4,  /* RFC 5925 */
};

#define PAWS_IDLE_SECONDS (24 * 24 * 60 * 60) /* after which timestamps say nothing, RFC 7323 section 5.5 */
#define SOCKET_ESTABLISHED 1                  /* BPF_TCP_ESTABLISHED, and so on */
#define SOCKET_SYN_RECEIVED 3                 /* a Fast Open child before the handshake's ACK */
#define SOCKET_CLOSE_WAIT 8
#define SOCKET_LAST_ACK 9
#define SOCKET_CLOSING 11

static __always_inline bool is_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

static __always_inline __be32 word_of(const struct segment *s, __u32 at)
{
	bounded(at);
	return *(const __be32 *)&s->bytes[at & 63];
}

/* read_segment_option reads the option at s->at and returns where the next one begins, 0 where Linux stops. */
static __always_inline __u32 read_segment_option(struct segment *s, __u32 at, __u32 end)
{
	__u32 word = bpf_ntohl(word_of(s, at)), kind = word >> 24, len = word >> 16 & 0xff;
	if (kind == OPTION_NOP)
		return at + 1;
	if (kind == OPTION_EOL || at + 2 > end || len < 2 || at + len > end)
		return 0;
	if (kind == OPTION_TIMESTAMPS && len == OPTION_TIMESTAMPS_LEN) {
		s->tsval = bpf_ntohl(word_of(s, at + 2));
		s->tsecr = bpf_ntohl(word_of(s, at + 6));
		s->has |= SEGMENT_TIMESTAMPS;
	}
	if (kind == OPTION_MD5 && len == OPTION_MD5_LEN)
		s->has |= SEGMENT_MD5;
	if (kind == OPTION_AO && len >= OPTION_AO_LEN)
		s->has |= SEGMENT_AO;
	return at + len;
}

/* read_segment reads p's TCP header once more, with its options. */
__noinline int read_segment(struct xdp_md *ctx, struct packet *p)
{
	struct workspace *ws = get_workspace();
	if (!p || !ws)
		return REASON_INTERNAL;
	struct segment *s = &ws->segment;
	__u32 end = sizeof(struct tcphdr) + p->options_len;
	__u32 size = ((end - 1) & 63) + 1; /* 1 to 64, in terms that Linux 6.1 understands */
	if (bpf_xdp_load_bytes(ctx, (p->payload_off - end) & 0xffff, s->bytes, size))
		return REASON_MALFORMED;
	s->ack = bpf_ntohl(word_of(s, 8));
	s->has = s->is_urgent = 0;
	s->at = sizeof(struct tcphdr);
	for (__u32 n = 0; n < TCP_OPTIONS_BYTES; n++) {
		__u32 at = reload(s->at); /* every round starts from one state, and the verifier sees it once */
		if (at >= end)
			break;
		at = read_segment_option(s, at, end);
		if (!at)
			break;
		s->at = at;
	}
	return REASON_CONTINUE;
}

/* accept_keys says whether a key option decides what becomes of the segment: a socket without a key takes none that has one.
 * A kernel that was built without them knows no such option, and steps over it. */
static __always_inline enum acceptance accept_keys(const struct segment *s, struct tcp_sock *tcp)
{
	bool knows_md5 = bpf_core_field_exists(tcp->md5sig_info), knows_ao = bpf_core_field_exists(tcp->ao_info);
	if ((knows_md5 && tcp->md5sig_info) || (knows_ao && tcp->ao_info))
		return UNKNOWN; /* there are keys; whether one is this peer's, and fits, is not ours to compute */
	if ((knows_md5 && s->has & SEGMENT_MD5) || (knows_ao && s->has & SEGMENT_AO))
		return REFUSED;
	return ACCEPTED;
}

/* passes_paws is Linux's protection against wrapped sequence numbers: a timestamp may be older by `tolerance` ticks than the
 * last one. (The exception for ACKs that changed places is for segments without data.) */
static __always_inline bool passes_paws(const struct segment *s, __u32 ts_recent, __u32 idle_seconds, __s32 tolerance)
{
	return (__s32)(ts_recent - s->tsval) <= tolerance || !ts_recent || idle_seconds >= PAWS_IDLE_SECONDS;
}

/* echoes_other says whether the segment echoes a timestamp that the handshake never had. Linux asks from 6.15 on. */
static __always_inline bool echoes_other(const struct segment *s, struct tcp_request_sock *request)
{
	if (!bpf_core_field_exists(request->snt_tsval_last) || !(s->has & SEGMENT_TIMESTAMPS) || !s->tsecr ||
	    !BPF_CORE_READ_BITFIELD(request, req.tstamp_ok))
		return false;
	__u32 first = request->snt_tsval_first;
	return request->snt_tsval_last - first < s->tsecr - first;
}

/* accept_request asks a handshake in progress. Of its first data Linux makes the connection. */
static __always_inline enum acceptance accept_request(const struct packet *p, const struct segment *s,
						      struct tcp_request_sock *request)
{
	__u32 ahead = s->ack - request->snt_isn - 1, next = request->rcv_isn + 1;
	if ((__s32)ahead > 0 || !is_before(next, p->seq + p->payload_len))
		return REFUSED;
	/* The handshake's ACK may be on its way, and the socket that it makes is less strict. */
	if (ahead || !is_before(p->seq, next + request->req.req.__req_common.skc_rcv_wnd))
		return DOUBTED;
	if (s->has & SEGMENT_TIMESTAMPS && !passes_paws(s, request->req.req.ts_recent, 0, 0))
		return DOUBTED;
	if (echoes_other(s, request))
		return DOUBTED;
	return is_before(p->seq, next) ? PARTLY : ACCEPTED;
}

/* What decides of a connection's socket, read at one moment. */
struct standing {
	__u32 rcv_nxt;
	__u32 rcv_end; /* the first byte beyond the window */
	__u32 snd_una;
	__u32 snd_nxt;
	__u32 max_window;
	__u32 ts_recent;
};

/* stand reads the socket until two looks at what grows agree. */
static __always_inline bool stand(volatile struct tcp_sock *tcp, struct standing *now)
{
	for (int i = 0; i < READ_ATTEMPTS; i++) {
		__u32 wup = tcp->rcv_wup, wnd = tcp->rcv_wnd;
		now->rcv_nxt = tcp->rcv_nxt;
		now->snd_nxt = tcp->snd_nxt;
		now->snd_una = tcp->snd_una;
		now->max_window = tcp->max_window;
		now->ts_recent = tcp->rx_opt.ts_recent;
		now->rcv_end = wup + wnd;
		if (is_before(now->rcv_end, now->rcv_nxt))
			now->rcv_end = now->rcv_nxt;
		if (tcp->rcv_wup == wup && tcp->rcv_wnd == wnd && tcp->rcv_nxt == now->rcv_nxt &&
		    tcp->snd_nxt == now->snd_nxt)
			return true;
	}
	return false;
}

/* accept_connection asks the socket of a connection. */
static __always_inline enum acceptance accept_connection(const struct packet *p, struct segment *s,
							 struct tcp_sock *tcp)
{
	struct standing now;
	enum acceptance keys = accept_keys(s, tcp);
	if (keys)
		return keys;
	if (!stand(tcp, &now))
		return UNKNOWN;
	note_pointer(s, tcp);
	if (is_before(now.snd_nxt, s->ack) || !is_before(now.rcv_nxt, p->seq + p->payload_len))
		return REFUSED;
	if (!is_before(p->seq, now.rcv_end))
		return DOUBTED;
	if (s->has & SEGMENT_TIMESTAMPS && BPF_CORE_READ_BITFIELD(tcp, rx_opt.tstamp_ok)) {
		__u32 idle = p->now_ns / SECOND_NS - (__u32)tcp->rx_opt.ts_recent_stamp;
		if (!passes_paws(s, now.ts_recent, (__s32)idle < 0 ? 0 : idle, 1))
			return DOUBTED;
	}
	/* From 6.7 on, and in stable kernels since, an ACK of what was never sent is too old; before, one of the last window's. Data that the
	 * fast path takes is taken all the same. */
	__u64 acked = tcp->bytes_acked;
	__u32 window = acked < now.max_window ? acked : now.max_window;
	if (is_before(s->ack, now.snd_una - window))
		return DOUBTED;
	return is_before(p->seq, now.rcv_nxt) ? PARTLY : ACCEPTED;
}

/* find_socket is socket_of with the tuple in the workspace, for whoever comes here has a deep stack. Without a source it finds the
 * listener. */
static __always_inline struct bpf_sock *find_socket(struct xdp_md *ctx, const struct packet *p, bool with_source)
{
	struct workspace *ws = get_workspace();
	if (!ws)
		return 0;
	__u32 size = fill_tuple(&ws->tuple, p);
	if (!with_source && is_ipv4(p->key.saddr)) {
		ws->tuple.ipv4.saddr = ws->tuple.ipv4.sport = 0;
	} else if (!with_source) {
		__builtin_memset(ws->tuple.ipv6.saddr, 0, sizeof(ws->tuple.ipv6.saddr));
		ws->tuple.ipv6.sport = 0;
	}
	return socket_by(ctx, &ws->tuple, size);
}

/* accept_keys_of_request asks the listener, for a handshake in progress has no keys of its own. A lookup without a source finds it. */
static __always_inline enum acceptance accept_keys_of_request(struct xdp_md *ctx, const struct packet *p,
							      const struct segment *s)
{
	struct bpf_sock *sk = find_socket(ctx, p, false);
	enum acceptance answer = UNKNOWN;
	if (!sk)
		return UNKNOWN;
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	if (tcp)
		answer = accept_keys(s, tcp);
	bpf_sk_release(sk);
	return answer;
}

/* ended says whether the client's FIN has come: nothing is taken behind it. */
static __always_inline bool ended(__u32 state)
{
	return state == SOCKET_CLOSE_WAIT || state == SOCKET_LAST_ACK || state == SOCKET_CLOSING;
}

/* accept_at_socket asks the socket that p's addresses and ports belong to. */
static __always_inline enum acceptance accept_at_socket(struct xdp_md *ctx, const struct packet *p, struct segment *s)
{
	struct bpf_sock *sk = find_socket(ctx, p, true);
	enum acceptance answer = UNKNOWN;
	bool asks_listener = false;
	if (!sk)
		return UNKNOWN;
	struct tcp_request_sock *request = bpf_skc_to_tcp_request_sock(sk);
	if (request) {
		answer = accept_request(p, s, request);
		asks_listener = answer != REFUSED && s->has & (SEGMENT_MD5 | SEGMENT_AO);
	} else if (ended(sk->state)) {
		answer = REFUSED;
	} else if (sk->state != SOCKET_LISTEN) {
		struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
		__u32 state = sk->state;
		if (tcp && state != SOCKET_SYN_RECEIVED)
			answer = accept_connection(p, s, tcp);
		/* Of a connection that this side closes versions differ in what they take. */
		if (state != SOCKET_ESTABLISHED && answer != REFUSED)
			answer = UNKNOWN;
	}
	bpf_sk_release(sk);
	if (asks_listener) {
		enum acceptance keys = accept_keys_of_request(ctx, p, s);
		answer = keys ? keys : answer;
	}
	return answer;
}

static __always_inline bool takes_partial_sums(struct xdp_md *ctx)
{
	__u32 index = ctx->ingress_ifindex;
	struct interface *in = bpf_map_lookup_elem(&interfaces, &index);
	return in && in->flags & INTERFACE_PARTIAL_SUMS;
}

/* accept_alone says of a segment whose socket cannot be asked what the segment itself shows: without an ACK, or with a wrong
 * checksum, no socket takes it. A key is nobody's who serves TLS behind connection tracking, but that is all we know. */
static __always_inline enum acceptance accept_alone(struct xdp_md *ctx, struct packet *p, const struct workspace *ws)
{
	if ((p->tcp_flags & (TCP_BIT_SYN | TCP_BIT_RST | TCP_BIT_ACK)) != TCP_BIT_ACK)
		return REFUSED;
	if (check_segment(ctx, p) == CHECKSUM_WRONG)
		return REFUSED;
	return ws->is_near && ws->segment.has & (SEGMENT_MD5 | SEGMENT_AO) ? DOUBTED : UNKNOWN;
}

/* accept_segment says what p's socket would do with its data, enum acceptance. */
__noinline int accept_segment(struct xdp_md *ctx, struct packet *p)
{
	struct workspace *ws = get_workspace();
	if (!p || !ws || p->flags & (PACKET_FRAGMENT | PACKET_PORTS_ONLY | PACKET_ADDRESSES_ONLY) || !p->payload_len)
		return UNKNOWN;
	if (read_segment(ctx, p))
		return UNKNOWN;
	if (!p->now_ns)
		p->now_ns = clock_ns();
	enum acceptance answer = p->flags & PACKET_REMOTE ? UNKNOWN : accept_at_socket(ctx, p, &ws->segment);
	if (answer == UNKNOWN)
		return accept_alone(ctx, p, ws);
	if (answer == REFUSED)
		return answer;
	/* Data beside a SYN or an RST is taken by no socket that has one of them behind it already, nor is what has no ACK. */
	if ((p->tcp_flags & (TCP_BIT_SYN | TCP_BIT_RST | TCP_BIT_ACK)) != TCP_BIT_ACK)
		return REFUSED;
	switch (check_segment(ctx, p)) {
	case CHECKSUM_RIGHT:
		return answer;
	case CHECKSUM_WRONG:
		return REFUSED;
	case CHECKSUM_PARTIAL:
		return takes_partial_sums(ctx) || answer == DOUBTED ? answer : UNSUMMED;
	default:
		return UNKNOWN;
	}
}

/* is_joined says whether the server has what was read, though it has a part of p's bytes from elsewhere: all that it has taken was
 * held before, and counted. */
static __always_inline bool is_joined(struct xdp_md *ctx, struct packet *p)
{
	struct workspace *ws = get_workspace();
	if (!ws || !(p->flags & PACKET_JOINED))
		return false;
	int taken = socket_took(ctx, p, ws->hello_isn);
	return taken >= 0 && (__u32)taken <= ws->held_before;
}

/* is_not_taken asks, of a block of what a socket knows, whether the socket would take this segment: for what it ignores nobody is
 * blocked, and nothing is kept, told or forgotten. It passes where nothing can change the socket's mind, for the stack drops it. Where
 * the packets in front of it might, it is dropped by itself: they would be its sender's, to make us look away. So is what begins
 * with bytes that the socket has already, perhaps other ones, unless these are what was read. What has no whole checksum
 * where no sender is known to leave it to its card is judged as if it had one. */
__noinline int is_not_taken(struct xdp_md *ctx, struct packet *p)
{
	if (!p || p->reason == REASON_BAN)
		return 0;
	if (p->outcome == OUTCOME_PASS) {
		if (!(p->flags & PACKET_NOT_TAKEN))
			return 0;
		p->flags &= ~(PACKET_DECIDED | PACKET_CONNECTION | PACKET_EVENT);
		p->reason = REASON_NOT_TAKEN;
		return 1;
	}
	int answer = accept_segment(ctx, p);
	if (answer == ACCEPTED || answer == UNKNOWN || answer == UNSUMMED || (answer == PARTLY && is_joined(ctx, p)))
		return 0;
	p->flags &= ~(PACKET_DECIDED | PACKET_CONNECTION);
	if (p->outcome == OUTCOME_RESET) {
		p->verdict = VERDICT_DROP;
		p->outcome = OUTCOME_DROP;
	}
	if (answer == PARTLY)
		return 1;
	p->reason = REASON_NOT_TAKEN;
	p->flags &= ~PACKET_EVENT;
	if (answer == REFUSED) {
		p->verdict = VERDICT_PASS;
		p->outcome = OUTCOME_PASS;
	}
	return 1;
}

#endif
