/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* connection.h holds the types of a connection: what it is known by, what its SYN and the answer to that said, and its verdict. */
#ifndef SPILLWAY_CONNECTION_H
#define SPILLWAY_CONNECTION_H

#include <linux/types.h>

#include "fingerprint.h"

/* What names of IPv6 connections are made with, see name.h. */
struct name_keys {
	__u64 words[2][9];
};

/* A connection as the kernel sees it; IPv4 as ::ffff:a.b.c.d so that both families share one table. */
struct flow_key {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
};
_Static_assert(sizeof(struct flow_key) == 36, "flow_key is ABI");

/* A connection as the table of flows knows it, see name.h: a lookup by 36 bytes takes 8 ns more. */
struct flow_name {
	__u32 ends[2]; /* IPv4: both addresses; IPv6: a keyed hash of them */
	__be16 sport;
	__be16 dport;
};
_Static_assert(sizeof(struct flow_name) == 12, "flow_name is ABI");

/* What an answer of this host to a SYN said, see egress.h. check covers the key and the content, as that of a syn_record. */
struct syn_answer {
	__u64 check;
	__u32 isn; /* the client's initial sequence number */
	__u32 iss; /* the server's */
};
_Static_assert(sizeof(struct syn_answer) == 16, "syn_answer is ABI");

/* What user space asks spillway_ask, as the data of a program run: whose socket is at these addresses and ports? */
struct socket_question {
	struct flow_key key;
	__u32 isn;       /* the answer */
	__u32 confirmed; /* enum confirmation: 0 for no socket, or one that says nothing */
};
_Static_assert(sizeof(struct socket_question) == 44, "socket_question is ABI");

/* What a SYN said, kept for its first payload. check covers the key and the content: a record that two CPUs wrote
 * at once, or that belongs to another connection, does not pass for this one's. */
struct syn_record {
	__u64 check;
	__u32 isn;
	__u32 has_fingerprint;
	struct tcp_fingerprint fingerprint;
	struct tcp_facts facts;
	__u32 sight; /* of sight.h, under a mask of this connection's; none once data of it came, see recall_syn() */
};
_Static_assert(sizeof(struct syn_record) == 64, "syn_record is ABI");

enum flow_flags {
	FLOW_CONFIRMED = 1,       /* a socket of this host vouched for the ISN */
	FLOW_FIRST_PAYLOAD = 2,   /* the first payload was scored */
	FLOW_HAS_FINGERPRINT = 4, /* the SYN's fingerprint is known */
	FLOW_HAS_TLS = 8,         /* the ClientHello's fingerprint is known */
	FLOW_COUNTED = 16,        /* the connection was counted at its decision */
	FLOW_CUT = 32,            /* and again when a ban cut it */
	FLOW_READ = 64,           /* its ClientHello was read, or it is shown that there is none */
	FLOW_GAP = 128,           /* one packet found bytes taken that we do not hold; a second one decides */
};

enum flow_hints {
	HINT_SYN = 1, /* a SYN came for this key: look whether a new connection took it over. Never relaxes anything */
	HINT_END = 2, /* a FIN or RST came: with a SYN cookie another may have its ISN, too */
	HINT_NO_SOCKET = 4, /* never changes: who vouched for it is no socket of this host */
	HINT_HEALED = 8,    /* its block was taken back: it is let alone, whether a reset took its socket or not */
	HINT_TAGGED = 16,   /* what passes of it is tagged: the web server may read its score */
	HINT_CHARGED = 32,  /* a limit was charged with it */
	HINT_OVER = 64,     /* it is blocked for being beyond a limit; where that drops, until there is room */
};

/* The verdict of one connection. verdict and the fields beside it are written together at creation; later writes
 * are single aligned stores of one field, so a reader on another CPU sees an old or a new verdict, never half of one. */
struct flow {
	__u64 expires_ns; /* the deciding rule's end; all ones: never */
	__u32 epoch;      /* of the control word that decided */
	__u32 isn;
	__u32 ban_epoch;  /* bans were looked up at this epoch */
	__u32 generation; /* that decided, in slot */
	__u8 verdict;     /* what was enforced: pass in observe mode */
	__u8 reason;
	__u8 slot;
	__u8 flags; /* enum flow_flags */
	__u16 rule;
	__u8 score;
	__u8 hint;       /* enum flow_hints */
	__u32 hello_end; /* bytes from ISN + 1 on that the ClientHello takes, or may take; 0: it is settled, see settle.h */
	__u32 sight;     /* in which its SYN was seen, 0: none. Only ever becomes 0, by one store */
	__u32 held;      /* from the ISN on, the numbers that were held without a gap; 0: nothing ever was */
	struct tcp_facts facts;
	struct tcp_fingerprint fingerprint;
	struct tls_fingerprint tls;
	__be32 saddr[4]; /* whose it is, which its name does not say of IPv6: for user space */
	__be32 daddr[4];
};
_Static_assert(sizeof(struct flow) == 152, "flow is ABI");
_Static_assert(__builtin_offsetof(struct flow, fingerprint) <= 64, "what every packet reads lies in one cache line");

#endif
