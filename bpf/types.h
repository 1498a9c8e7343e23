/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* types.h holds, with connection.h, fingerprint.h, host.h, lane.h and policy.h, every type that crosses to user space;
 * bpf2go turns them into Go types. */
#ifndef SPILLWAY_TYPES_H
#define SPILLWAY_TYPES_H

#include <linux/types.h>

#include "connection.h"
#include "fingerprint.h"
#include "host.h"
#include "lane.h"
#include "policy.h"

/* The version of the layout of maps and of everything in this file. Pins live in a folder of this name; a build reads no
 * folder of another number but root's, because a half-understood map could block someone. A test holds a digest of the
 * layout of each number (abi.txt): what changes it takes a new one. */
#define ABI_VERSION 8

enum {
	/* Slot 0 is always empty: a control word of zero points nowhere, and nowhere passes. */
	SLOTS = 8,
	SLOT_EMPTY = 0,
	/* Lists whose longest matches add up on one source; the loader refuses more. */
	RULE_CHAIN_MAX = 8,
	PROGRAM_DATAPLANE = 0, /* what the front leaves; the root program calls that, by an array of its own */
	PROGRAM_PAYLOAD = 1,
	PROGRAM_CONNTRACK = 2, /* of conntrack.c; missing where connection tracking cannot be asked */
	PROGRAM_PAIR = 3,
	PROGRAMS_MAX = 4,
	/* A power of two: 1 MiB. At 100,000 SYN+ACKs a second a place is overwritten after 0.6 s, several round trips. */
	SYN_ANSWERS = 65536,
	/* A power of two; 16 KiB stay in a processor's cache during a flood. A client repeats its SYN after 1, 3, 7 s: at 400
	 * blocked ones a second on a processor, nine of ten are known again after the first of these. */
	RECENT_BLOCKS = 4096,
	/* 16 KiB. A visitor whose packets are fragmented shares its place with one pair of addresses in 4,095. */
	UNREAD_PLACES = 4096,
};

/* Why a packet went where it went. Names are the labels in metrics, events and documents. Append only: numbers are ABI. */
enum reason {
	REASON_CONTINUE = 0,         /* internal: not finished yet */
	REASON_NOT_IP = 1,           /* ARP, LLDP, MPLS, PPPoE…: never ours */
	REASON_NOT_SERVICE = 2,      /* the destination is not a service */
	REASON_OTHER_PROTOCOL = 3,   /* IP, but neither TCP nor UDP */
	REASON_MALFORMED = 4,        /* headers contradict each other or the frame ends inside them */
	REASON_TOO_DEEP = 5,         /* more tags or extension headers than we follow */
	REASON_FRAGMENT = 6,         /* a fragment to a service address */
	REASON_NO_GENERATION = 7,    /* the slot is empty */
	REASON_NO_POLICY = 8,        /* the generation was compiled without this service */
	REASON_SERVICE_BYPASS = 9,   /* the operator lets this service pass */
	REASON_AGENT_LOST = 10,      /* would have been blocked; nobody is there to lift a mistake */
	REASON_KNOWN_FLOW = 11,      /* the stored verdict of the flow */
	REASON_MIDSTREAM = 12,       /* data of a connection whose start we did not see */
	REASON_HANDSHAKE = 13,       /* no data, no flow: the ACK of a handshake, a late FIN or RST */
	REASON_NO_MATCH = 14,        /* decided: no feature matched */
	REASON_PREFIX = 15,          /* decided: a prefix weighed most */
	REASON_TCP_FINGERPRINT = 16, /* decided: the SYN's fingerprint weighed most */
	REASON_BAN = 17,             /* an operator's or a tool's ban */
	REASON_PROTECTED = 18,       /* would have been blocked; the source is protected */
	REASON_BELOW_THRESHOLD = 19, /* decided: matched, but the score does not reach the policy's threshold */
	REASON_WEAK = 20,            /* decided: only reasons matched, and reasons alone never block */
	REASON_UNCONFIRMED = 21,     /* a first payload without a socket that fits: judged alone, nothing kept */
	REASON_SYN_OPTIONS = 22,     /* the SYN's options cannot be read; it has no fingerprint */
	REASON_INTERNAL = 23,        /* a map is missing: pass and let the alert ring */
	REASON_JA4 = 24,             /* decided: the ClientHello's JA4 weighed most */
	REASON_TCP_SIGNATURE = 25,   /* decided: a p0f signature of the SYN weighed most */
	REASON_HELLO_PARTIAL = 26,   /* the ClientHello goes on in another segment; decided when it is whole */
	REASON_HELLO_ORDER = 27,     /* a segment of the ClientHello came before the one in front of it */
	REASON_HELLO_OVERLAP = 28,   /* bytes of the ClientHello came twice, and differ */
	REASON_HELLO_TOO_LONG = 29,  /* the ClientHello exceeds a limit of enum hello_limit */
	REASON_HELLO_MALFORMED = 30, /* lengths inside the ClientHello contradict each other */
	REASON_HELLO_BUSY = 31,      /* a new shape beyond the budget of its processor or source prefix */
	REASON_NOT_HELLO = 32,       /* the first payload to a tls service is no ClientHello */
	REASON_NOT_TAKEN = 33,       /* the server's socket will not take this segment: it passes, and says nothing */
	REASON_HELLO_HIDDEN = 34,    /* the server read bytes of the connection's beginning that we did not see */
	REASON_HELLO_UNSEEN = 35,    /* the same, where a network or we may be the cause */
	REASON_HELLO_URGENT =
		36, /* more than one urgent byte in a ClientHello: which of them it has depends on the server */
	REASON_MPTCP_STRIPPED =
		37,           /* decided, a SYN: no feature matched; its request for Multipath TCP was taken out */
	REASON_ON_TRIAL = 38, /* a block of a generation on trial that nobody could count, or beyond its budget */
	REASON_ALLOWED = 39,  /* decided: a rule of the bundle says allow */
	REASON_PAIR = 40,     /* decided: a pair of SYN and ClientHello weighed most */
	REASON_MAX = 48,
};

enum verdict {
	VERDICT_PASS = 0,
	VERDICT_TAG = 1,
	VERDICT_LIMIT = 2,
	VERDICT_RESET = 3,
	VERDICT_DROP = 4,
};

/* What the exit counts: the verdict, or what it would have been in observe mode. */
enum outcome {
	OUTCOME_PASS = 0,
	OUTCOME_TAG = 1,
	OUTCOME_LIMIT = 2,
	OUTCOME_RESET = 3,
	OUTCOME_DROP = 4,
	OUTCOME_WOULD_LIMIT = 5,
	OUTCOME_WOULD_RESET = 6,
	OUTCOME_WOULD_DROP = 7,
	OUTCOMES = 8,
};

/* Beside the slots, whose counts belong to the generation in them, the counters have two places that no slot takes. */
enum counter_slot {
	/* What generations counted that have left their slots: user space adds it here and zeroes theirs in one call, so
	 * that a sum over all of them only grows. */
	COUNTER_LEFT = SLOTS,
	/* Its `connections` are packets that were judged by themselves, and blocked: they belong to no connection. */
	COUNTER_ALONE = SLOTS + 1,
	COUNTER_SLOTS = SLOTS + 2,
};

/* What left in one way, by outcome. One value holds all outcomes: reading and zeroing cost by the value, not by the byte. */
struct counter {
	__u64 packets[OUTCOMES];
	__u64 connections[OUTCOMES]; /* decided; each once, see count_decision() */
};
_Static_assert(sizeof(struct counter) == 128, "counter is ABI");

/* Direct-mapped names of connections: a keyed hash with their ISN. One that is overwritten is counted once more. */
struct block_names {
	__u32 names[RECENT_BLOCKS];
};

#define COUNTERS (SERVICES_MAX * COUNTER_SLOTS * REASON_MAX)

enum mode {
	MODE_OBSERVE = 0,
	MODE_ENFORCE = 1,
};

/* The control word, one aligned u64 that a packet reads once:
 *
 *   63         32 31 30        21   20     19     18   17  14 13  10 9    6 5    2 1  0
 *  +-------------+--+------------+------+------+------+------+------+------+------+----+
 *  |    epoch    | 0| canary (‰) |budget| pair |shadow| host | prev | cand | stab |mode|
 *  +-------------+--+------------+------+------+------+------+------+------+------+----+
 *
 * Roles are slots. shadow, pair and budget belong to a rollout: pair has packets look at the lanes, budget holds what
 * decides for everybody to its budget. No packet looks at shadow.
 */
enum control_shift {
	CONTROL_MODE = 0,
	CONTROL_STABLE = 2,
	CONTROL_CANDIDATE = 6,
	CONTROL_PREVIOUS = 10,
	CONTROL_HOST = 14,
	CONTROL_SHADOW = 18,
	CONTROL_PAIR = 19,
	CONTROL_BUDGET = 20,
	CONTROL_CANARY = 21,
	CONTROL_EPOCH = 32,
};

/* Words that change at run time. Each has one writer, who stores it through a memory mapping, whole and atomically,
 * so that no store erases another's. Times are CLOCK_MONOTONIC, nanoseconds. The bypass of everything and the heartbeat are
 * words of the root (root.h), which outlive this layout. */
struct runtime {
	__u64 control;  /* see above. Compare-and-swap only */
	__u64 lease_ns; /* the candidate counts until then. Writer: the agent */
	__u64 ended; /* candidate that decides no more: its lease lapsed, or it is taken out; 0 for none. Writers: packets, the agent */
	__u64 ban_epoch;     /* grows after every change of bans; 0: there never was one */
	__u64 seed[2];       /* random at creation, then constant: the key of all hashes over what strangers send */
	__u64 tell_until_ns; /* somebody watches: until then every decision becomes an event. Writer: the agent */
	__u64 service_bypass_until_ns
		[SERVICES_MAX]; /* like the root's bypass, one service each. Writer: whoever holds the state lock */
	__u64 vouched_until_ns; /* the latest end in `vouched`: after it nobody looks there. Writer: the agent */
	__u64 sight; /* grows before and after whatever may let packets pass unseen: an attach, an upgrade, a bypass.
		      * Writer: whoever does it. What began in another sight is never called hidden, see sight.h */
	__u64 baked; /* number of the stable generation that is last-known-good, 0 for none: sockets of what it blocks
		      * are released, which cannot heal. Writer: the agent */
	struct lane lanes[LANES]; /* what is compared. Writer: the agent */
	__u64 beside; /* slot of the fast track's generation, which decides for nobody; no packet looks at it. Writer: the agent */
	__u64 clock_ns; /* the time, where a test sets it: settings.is_clocked. Writer: that test */
	/* By lane: the generation that used up its budget, and in the upper half what it was built again as; 0 for none.
	 * Writers: packets, and the agent the upper half. Compare-and-swap only */
	__u64 tripped[LANES];
	__u64 banned[FIRST_BYTES];  /* whose ban there may be. Writer: whoever bans */
	struct name_keys name_keys; /* random at creation, then constant */
};
_Static_assert(sizeof(struct runtime) == 608, "runtime is ABI");

enum rule_flags {
	RULE_DECLARED = 1, /* the bundle says in its intent that it newly blocks by this rule */
	RULE_ALLOW = 2,    /* what it matches passes, whatever its score */
	RULE_TAG = 4,      /* what it matches is tagged where it passes */
};

/* One link of the chain of rules that a match points to; node 0 is "none". Scores add up, expired links do not count. */
struct rule_node {
	__u64 expires_ns;
	__s16 score;
	__u16 rule; /* index of the bundle's rule, for counting */
	__u16 next;
	__u16 flags; /* enum rule_flags */
};
_Static_assert(sizeof(struct rule_node) == 16, "rule_node is ABI");

/* Families of the catalogue: which systems send such a SYN, a bit each, and which library or browser sends such a hello. */
enum family {
	FAMILY_WINDOWS = 1,
	FAMILY_APPLE = 2,
	FAMILY_LINUX = 4,
	FAMILY_ANDROID = 8,
	FAMILY_RAW = 16,
	TCP_FAMILIES = 32, /* combinations of them */
	TLS_FAMILIES = 16, /* 0: none */
	/* Where values of `ja4s` have their parts, above the head of the chain of rules: the family, and the kind of client, which is 0
	 * for one that no catalogue has. */
	VALUE_FAMILY = 16,
	VALUE_KIND = 24,
};

/* Everything small of a generation. */
struct generation {
	__u32 number; /* only grows */
	__u32 rule_count;
	__u8 digest[32]; /* SHA-256 of the bundle's canonical form */
	__u64 salt;      /* of the canary split: the same prefixes on every host */
	__u64 built_unix_ns;
	__u32 prefixes4; /* rows, for people */
	__u32 prefixes6;
	__u32 tcp_fingerprints;
	__u32 allowlist; /* of the host file that it was compiled for */
	__u32 tcp_signatures;
	__u32 ja4s;
	__u32 ja4_forms; /* one bit for each form that some feature has: 1 << form */
	__u32 host; /* number of the host file that it was compiled for; another one, or 0: it is behind, see behind.h */
	__u32 pair_count;
	__u32 pad;
	struct policy policies[SERVICES_MAX];
	__u16 reasons[REASON_MAX];                /* chain heads of reason features */
	__u16 pairs[TCP_FAMILIES * TLS_FAMILIES]; /* and of pairs, by all families of the SYN and that of the hello */
};
_Static_assert(sizeof(struct generation) == 2272, "generation is ABI");

enum {
	PREFIX_KEY4 = 14,    /* bits of an address within its chunk */
	PREFIX_KEY6 = 41,    /* the same, of its first 64 */
	PREFIX_STEPS6 = 22,  /* of a search: two million rows make twice as many ranges */
	PREFIX_PAGE = 65536, /* words */
};
/* The word of a chunk says where its ranges lie. */
#define PREFIX_SPLIT 0x80000000U

/* Words of a table of prefixes, see prefix.h. */
struct prefix_page {
	__u32 words[PREFIX_PAGE];
};
_Static_assert(sizeof(struct prefix_page) == 262144, "prefix_page is ABI");

struct address6 {
	__be32 addr[4];
};

struct prefix6_key {
	__u32 prefixlen;
	__be32 addr[4];
};

/* The longest match decides, so a ban of one address inside a banned network lasts as long as either of them. */
struct ban {
	__u64 expires_ns;     /* the later of its own end and that of the bans around it */
	__u64 own_expires_ns; /* what was asked for */
};

/* A source that somebody vouches for: IPv4 as ::ffff:a.b.c.d, IPv6 as its /64, because whoever has one address of it has
 * them all. */
struct vouched_key {
	__be32 addr[4];
};

enum stage {
	STAGE_PACKET = 0, /* judged alone: udp, fragments, midstream */
	STAGE_SYN = 1,
	STAGE_PAYLOAD = 2,
};

/* One decision, as the event stream shows it. */
struct event {
	__u64 time_ns;
	struct flow_key key;
	__u32 generation;
	__u16 rule;
	__u8 service;
	__u8 reason;
	__u8 outcome;
	__u8 score; /* SCORE_NONE when nothing matched */
	__u8 slot;
	__u8 stage;
	__u8 has_fingerprint;
	__u8 has_tls;
	__u8 pad[6];
	struct tcp_fingerprint fingerprint;
	struct tcp_facts facts;
	__u32 pad2;
	struct tls_fingerprint tls;
};
_Static_assert(sizeof(struct event) == 144, "event is ABI");

/* "No score" is a value of its own, and passes. */
#define SCORE_NONE 255

/* Events are lossy by design; what was lost is counted here, per CPU. */
struct event_budget {
	__u64 window_ns;
	__u64 sent;
	__u64 lost;
};

#endif
