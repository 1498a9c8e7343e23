/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* packet.h holds what the stages know of the packet in hand. */
#ifndef SPILLWAY_PACKET_H
#define SPILLWAY_PACKET_H

#include "types.h"
#include "verifier.h"
#include "wire.h"

/* What inspect() says beside the reasons (types.h) that end a packet. */
enum next {
	NEXT_PROGRAM = REASON_MAX, /* it may be a first payload: the payload program decides */
};

/* The address pair is known but not the ports: judge by addresses alone. */
#define PACKET_ADDRESSES_ONLY (1U << 0)
/* The packet is a fragment (the first of several counts). */
#define PACKET_FRAGMENT (1U << 1)
/* The fingerprint is valid. */
#define PACKET_HAS_FINGERPRINT (1U << 2)
/* The decision deserves an event. */
#define PACKET_EVENT (1U << 3)
/* The ports are known, but nothing of the TCP header after them. */
#define PACKET_PORTS_ONLY (1U << 4)
/* The service's sockets are elsewhere. */
#define PACKET_REMOTE (1U << 5)
/* A ban covers the source, whatever became of it. */
#define PACKET_BANNED (1U << 6)
/* The workspace holds the fingerprint of this connection's ClientHello. */
#define PACKET_HAS_TLS (1U << 7)
/* The ClientHello goes on in another segment. */
#define PACKET_HELLO_PARTIAL (1U << 8)
/* It belongs to a flow. */
#define PACKET_OF_FLOW (1U << 9)
/* Its connection has taken in data before it: of a ClientHello only the rest can still come. */
#define PACKET_NOT_FIRST (1U << 10)
/* It decided its connection, whose socket still waits for it. */
#define PACKET_DECIDED (1U << 11)
/* A socket of this host vouches for its connection. What strangers can forge has places and budgets of its own. */
#define PACKET_PROVEN (1U << 12)
/* It decided a connection that can be told from others, by its ISN: that is counted, also where it passes. */
#define PACKET_CONNECTION (1U << 13)
/* Its connection was counted before. */
#define PACKET_COUNTED (1U << 14)
/* A part of its connection's beginning came, and is not held: nobody may say of that flow that something was hidden. */
#define PACKET_UNSEEN (1U << 15)
/* It is the FIN of a blocked connection, whose socket shall not wait for what never comes. */
#define PACKET_RELEASE (1U << 24)
/* Its socket will not take it: it passes, and leaves nothing behind. */
#define PACKET_NOT_TAKEN (1U << 18)
/* The workspace holds the first part of a JA4, without the hashes: of lists that are too long, or of a new shape beyond the
 * budget. */
#define PACKET_HAS_HEAD (1U << 17)

/* It begins a TCP segment in fragments, and is too short for the ports. */
#define PACKET_TINY (1U << 20)
/* Its service's policy may drop it for being a fragment. */
#define PACKET_CUT (1U << 21)
/* The policy of its service asks for hidden hellos. */
#define PACKET_ASKED (1U << 26)
/* A reason that its rules make a strong one spoke against it. */
#define PACKET_STRONG_REASON (1U << 27)
/* The place that holds its connection's beginning was taken for it just now. */
#define PACKET_NEW_PLACE (1U << 28)
/* The ClientHello was read, or it is shown that there is none: whatever comes behind it changes nothing. */
#define PACKET_HELLO_READ (1U << 25)
/* What was read of its connection came together in a place. */
#define PACKET_JOINED (1U << 29)

/* A part of its connection's beginning was held before: where no place is, that part was lost. */
#define PACKET_WAS_HELD (1U << 30)

/* A SYN to a service whose connections are kept to plain TCP. */
#define PACKET_STRIP (1U << 22)
/* And it asked for another. */
#define PACKET_STRIPPED (1U << 19)
/* It is a copy that another generation judges: nothing is counted, and what counts is noted. */
#define PACKET_TRIAL (1U << 16)
/* Something speaks against it that its generation's intent does not name. */
#define PACKET_UNDECLARED (1U << 31)
/* It lies in the workspace, which is its own until it leaves. */
#define PACKET_AT_WORK (1U << 23)

enum mark {
	MARK_FRESH = 1,    /* it is a service's with the host file in force only: SERVICE_FRESH */
	MARK_DECLARED = 2, /* a rule that the bundle declares speaks for the block */
	MARK_CHARGES =
		4,       /* a first payload that somebody vouches for, of a connection that no limit was charged with */
	MARK_PART = 8,   /* the same, but not wholly its: who sent it is less sure, and its server may take it */
	MARK_SPENT = 16, /* a limit was charged with it */
	MARK_TAGGED = 32,   /* what passes of its connection is tagged */
	MARK_OVER = 64,     /* it is blocked for being beyond a limit */
	MARK_LIMITED = 128, /* its score reaches a limit, which is to be asked */
	MARKS_JUDGED = MARK_DECLARED | MARK_SPENT | MARK_TAGGED | MARK_OVER | MARK_LIMITED, /* of one judgement */
};

struct packet {
	struct flow_key key;
	__u32 l3_off;
	__u32 l4_off;
	__u32 payload_off;
	__u32 payload_len; /* by the headers, not by the frame: padding does not count */
	__u32 l4_len;
	__u32 seq;
	__u16 window;
	__u16 ethertype;
	__u8 protocol; /* IPPROTO_TCP, IPPROTO_UDP, or 0 while unknown */
	__u8 tcp_flags;
	__u8 options_len;
	__u8 weak_reason; /* enum reason that may be scored, or 0 */
	__u8 service;

	/* the decision */
	__u8 outcome;
	__u8 verdict;
	__u8 reason;
	__u8 slot;
	__u8 score;
	__u8 stage;
	__u8 own; /* the verdict of the generation itself, whatever stands above it */
	__u16 rule;
	__u8 families; /* of catalogues that send such a SYN, a bit each: enum tcp_family */
	__u8 marks;    /* enum mark */
	__u32 flags;
	__u32 generation;
	__u32 hello_end; /* of struct flow */
	__u32 sight;     /* of struct flow */
	__u32 held;      /* of struct flow; read_hello leaves it */
	union {
		__u32 cursor; /* of read_syn */
		__u32 isn;    /* of the connection that is decided, or reset */
	};
	__u64 expires_ns;
	__u64 now_ns;
	__u64 control; /* the control word, read once */
	struct tcp_fingerprint fingerprint;
	struct tcp_facts facts;
};

#define SECOND_NS 1000000000ULL

/* doubt notes a reason that rules may score. The first fragment of a packet stays a fragment, whatever else is odd. */
static __always_inline void doubt(struct packet *p, __u8 reason)
{
	if (!(p->flags & PACKET_FRAGMENT))
		p->weak_reason = reason;
}

static __always_inline bool is_syn(const struct packet *p)
{
	return (p->tcp_flags & (TCP_BIT_SYN | TCP_BIT_ACK)) == TCP_BIT_SYN;
}

static __always_inline __u32 control_field(__u64 control, __u32 shift, __u32 mask)
{
	return (control >> shift) & mask;
}

#define control_mode(c) control_field(c, CONTROL_MODE, 3)
#define control_stable(c) control_field(c, CONTROL_STABLE, 15)
#define control_candidate(c) control_field(c, CONTROL_CANDIDATE, 15)
#define control_previous(c) control_field(c, CONTROL_PREVIOUS, 15)
#define control_host(c) control_field(c, CONTROL_HOST, 15)
#define control_pair(c) control_field(c, CONTROL_PAIR, 1)
#define control_budget(c) control_field(c, CONTROL_BUDGET, 1)
#define control_canary(c) control_field(c, CONTROL_CANARY, 1023)
#define control_epoch(c) ((__u32)((c) >> CONTROL_EPOCH))

#endif
