/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* workspace.h holds the layout of a processor's workspace: where a ClientHello is taken apart, which is too much for a stack
 * of 512 bytes, and how a packet gets from one program to the next. */
#ifndef SPILLWAY_WORKSPACE_H
#define SPILLWAY_WORKSPACE_H

#include <linux/bpf.h>

#include "packet.h"
#include "types.h"

/* A power of two above every limit of values, so that a masked index is always inside. */
#define HELLO_VALUES 128

struct hello_values {
	__u16 values[HELLO_VALUES];
};

struct stream {
	__u8 bytes[HELLO_BYTES];
};

/* Text that is hashed: five characters a value, and the padding of SHA-256. */
#define HELLO_TEXT 1024

/* The extensions that JA4 looks into. */
enum found {
	FOUND_OTHER = 0,
	FOUND_ALPN = 1,
	FOUND_SIGNATURES = 2,
	FOUND_VERSIONS = 3,
};

struct found_extension {
	__u32 at;
	__u32 len; /* 0: absent, or empty */
	__u32 times;
	__u32 pad;
};

/* What a TCP header says that decides whether a socket takes the segment. */
struct segment {
	__u32 ack;
	__u32 tsval; /* of the last timestamps option */
	__u32 tsecr;
	__u32 has;       /* enum segment_options */
	__u32 at;        /* the option that is read next */
	__u32 urgent;    /* the sequence number that its socket's urgent pointer names */
	__u32 is_urgent; /* whether there is one */
	__u8 bytes[128]; /* 60 and more, so that a masked index and what clang makes of it are always inside */
};

/* What a SYN cookie is made of. */
struct cookie_headers {
	__u8 ip[40]; /* struct iphdr or ipv6hdr */
	__u8 tcp[20];
};

/* One rule's contribution to a verdict. */
struct part {
	__s16 score;
	__u16 rule;
	__u8 is_strong;
	__u8 is_declared;
};

/* Generations that judge one packet: what decides, and of each lane the other one. */
#define LIMITED_MAX 4

/* What a limit said, so that it is charged once, however many generations have it. */
struct limited {
	__u32 limit;
	__u32 is_over;
	__u64 room_ns; /* when there is room for what is over */
};

/* What was found in a set of limits or sharers. */
struct finding {
	__u64 least; /* what the way has that is nearest to being free */
	__u64 way;
	__u64 kinds; /* of an address: those of now above those of before */
	__u32 at;
	__u32 pad;
};

/* What a key is held to, and what became of it. Times are in units of 1,024 ns. */
struct limit {
	__u32 set;
	__u32 burst;
	__u64 name; /* of the key, at its place in a way */
	__u64 interval;
	__u64 now;
	__u64 wait; /* until there is room, where it is over */
};

/* What is compared in a lane, once its words were read. */
struct comparison {
	__u32 lane;
	__u32 old_number;
	__u32 new_number;
	__u32 old_slot;
	__u32 new_slot;
	__u32 runs[LANES]; /* of both lanes, for a way may be of either */
	__u32 day;
};

struct workspace {
	__u32 is_busy; /* see take_workspace() */
	__u32 pad;
	struct packet packet;           /* on its way from one program to the next */
	struct stream raw;              /* what a client sent first, or this packet again */
	struct hello_values ciphers;    /* here and below: of a new shape alone */
	struct hello_values extensions; /* without 0000 and 0010 */
	struct hello_values stable;     /* and without those that the stable JA4 leaves out */
	struct hello_values signatures;
	struct hello_values spare; /* of the sort */
	__u32 counts[16];          /* of the sort */
	__u8 text[HELLO_TEXT + 128];
	__u32 sha[8];
	__u32 schedule[16]; /* of SHA-256: not on a stack that four callers share */
	__u32 listed_count; /* of extensions */
	__u32 stable_count;
	__u32 signature_count;
	__u32 ciphers_at; /* where lists lie in the stream */
	__u32 ciphers_count;
	__u32 extensions_at;
	__u32 extensions_end;
	__u32 nothing;     /* of uncounted */
	__u32 round_count; /* of lists that are read by bpf_loop */
	__u64 round_sum;
	__u32 best_version;
	__u32 is_greased; /* the signature algorithms have GREASE among them */
	__u32 is_long;    /* a list exceeds its limit: JA4_a is all that can be said */
	__u32 skim_at;    /* of skim_extensions */
	__u32 skim_count;
	__u32 skim_unstable;
	struct found_extension found[4]; /* by enum found */
	__u32 hello_end;                 /* bytes of the stream that were looked at */
	__u32 sort_count;
	struct shape_key key;
	struct tls_fingerprint tls;
	struct shape_budget budgets[2]; /* of what is proven, and of what is not */
	struct flow flow;               /* to be stored */
	struct shape shape;             /* to be stored */
	__u8 answer[64];                /* the headers of a reset */
	__u32 hello_index;              /* of the hello that this packet holds the lock of */
	__u32 is_locked;
	__u64 lock_ns;  /* since when */
	__u32 hello_at; /* where the body of the ClientHello lies */
	__u32 hello_body_end;
	__u32 hello_is_sslv2; /* in the format of SSL 2.0 */
	__u32 hello_is_split; /* it lies in several records, and is to be put together first */
	__u32 flat_reason;    /* why that ended */
	__u32 hello_isn;      /* of the connection whose hello is read */
	__u32 held_before;    /* bytes without a gap that its place held before this packet */
	__u32 is_named;       /* a feature of the day names the fingerprint */
	__u32 is_listed;      /* the shape is kept among those that features name */
	__u32 differ_at;      /* of differ */
	__u32 differ_end;
	__u64 difference;
	__u64 sum; /* of sum_frame */
	__u32 sum_from;
	__u32 sum_left;
	__u8 piece[512];             /* what it sums */
	struct bpf_sock_tuple tuple; /* whose socket is asked */
	struct segment segment;      /* whose acceptance is asked */
	struct cookie_headers headers;
	__u32 confirmed; /* enum confirmation: what a socket said of the packet's connection, or who was asked then */
	__u32 confirmed_isn;
	__u32 hints;         /* enum flow_hints that its flow keeps */
	__u32 is_asked;      /* connection tracking was asked, and has answered if it could */
	__u32 is_near;       /* it knows the connection, and its server may take the packet's ACK */
	__u32 is_doubted;    /* but the ACK is not the newest: what it says is read, and no block of it is stored */
	struct packet trial; /* a copy of the packet, as another generation judges it */
	struct part parts[PARTS_MAX];
	__u32 part_count;
	__s32 total;          /* the score, of what parts have no room for, too */
	__u32 is_more_strong; /* one that parts have no room for is strong */
	__u32 decisive;       /* parts without which it would be no block, a bit each */
	struct comparison comparison;
	struct limited limited[LIMITED_MAX]; /* what limits said of this packet */
	__u32 limited_count;
	__u64 room_ns; /* when there is room for what is over */
	struct limit limit;
	struct finding finding;
	__u32 tls_family; /* of its ClientHello; 0: none that is known */
	__u32 kind;       /* of its client; 0: none that is known */
	__u64 seen;       /* of find_way */
	__s32 said;       /* the reason that the program before ended with */
};

#endif
