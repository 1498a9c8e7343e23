/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* types.h holds every type that crosses to user space; bpf2go turns them into Go types. */
#ifndef SPILLWAY_TYPES_H
#define SPILLWAY_TYPES_H

#include <linux/types.h>

/* A hello's buffer: HELLO_MAX, the longest piece that is copied at once, and a word to read beyond. */
#define HELLO_BYTES (8192 + 8)

/* The version of the layout of maps and of everything in this file. Pins live in a folder of this name;
 * an agent refuses a folder of another number, because a half-understood map could block someone. */
#define ABI_VERSION 2

enum {
	/* Service 0 is "no service". 32 is what one host file may list; more would only fatten the per-CPU counters. */
	SERVICES_MAX = 33,
	/* Slot 0 is always empty: a control word of zero points nowhere, and nowhere passes. */
	SLOTS = 4,
	SLOT_EMPTY = 0,
	/* p0f reads at most 24 options of a SYN (MAX_TCP_OPT); no system sends more than 10. */
	TCP_OPTIONS_MAX = 24,
	/* Lists whose longest matches add up on one source; the loader refuses more. */
	RULE_CHAIN_MAX = 8,
	/* Signatures of one IP version and option layout; the loader refuses more. */
	TCP_SIGNATURES_MAX = 8,
	PROGRAM_DATAPLANE = 0,
	PROGRAM_PAYLOAD = 1,
	PROGRAMS_MAX = 4,
};

/* What a ClientHello may be to be fingerprinted; the work of a forged one is bounded by these. */
enum hello_limit {
	/* Bytes from ISN + 1 on, record headers included: four segments of 1,460 bytes and some. Clients of 2026 send 300
	 * to 2,100. */
	HELLO_MAX = 6144,
	/* JA4 prints two digits, and 99 for more. */
	HELLO_CIPHERS_MAX = 99,
	HELLO_EXTENSIONS_MAX = 99,
	HELLO_SIGNATURES_MAX = 64,
	/* Of one hello; clients send one. */
	HELLO_RECORDS_MAX = 64,
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

#define COUNTERS (SERVICES_MAX * SLOTS * REASON_MAX * OUTCOMES)

enum mode {
	MODE_OBSERVE = 0,
	MODE_ENFORCE = 1,
};

/* The control word, one aligned u64 that a packet reads once:
 *
 *   63            32 31   20 19        10 9  8 7  6 5  4 3  2 1  0
 *  +----------------+-------+------------+----+----+----+----+----+
 *  |     epoch      |   0   | canary (‰) |host|prev|cand|stab|mode|
 *  +----------------+-------+------------+----+----+----+----+----+
 */
enum control_shift {
	CONTROL_MODE = 0,
	CONTROL_STABLE = 2,
	CONTROL_CANDIDATE = 4,
	CONTROL_PREVIOUS = 6,
	CONTROL_HOST = 8,
	CONTROL_CANARY = 10,
	CONTROL_EPOCH = 32,
};

/* Words that change at run time. Each has one writer, who stores it through a memory mapping, whole and atomically,
 * so that no store erases another's. Times are CLOCK_MONOTONIC, nanoseconds. */
struct runtime {
	__u64 bypass_until_ns; /* 0: off; all ones: until switched off. Writer: whoever holds the state lock */
	__u64 control;         /* see above. Compare-and-swap only */
	__u64 lease_ns;        /* the candidate counts until then. Writer: the agent */
	__u64 heartbeat_ns;    /* when the agent last lived. Writer: the agent's heartbeat thread */
	__u64 tripped;         /* generation whose breaker tripped, 0 for none */
	__u64 ban_epoch;       /* grows after every change of bans; 0: there never was one */
	__u64 seed[2];         /* random at creation, then constant: the key of all hashes over what strangers send */
	__u64 tell_until_ns;   /* somebody watches: until then every decision becomes an event. Writer: the agent */
	__u64 service_bypass_until_ns[SERVICES_MAX]; /* like bypass_until_ns, one service each */
};
_Static_assert(sizeof(struct runtime) == 336, "runtime is ABI");

/* A connection as the kernel sees it; IPv4 as ::ffff:a.b.c.d so that both families share one table. */
struct flow_key {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
};
_Static_assert(sizeof(struct flow_key) == 36, "flow_key is ABI");

enum tcp_present {
	TCP_HAS_MSS = 1,
	TCP_HAS_SCALE = 2,
};

/* The content of a MuonFP string (window:kinds:mss:scale), as an exact key. Unused bytes are zero. */
struct tcp_fingerprint {
	__u16 window;
	__u16 mss;
	__u8 scale;
	__u8 present; /* enum tcp_present */
	__u8 kind_count;
	__u8 pad;
	__u8 kinds[TCP_OPTIONS_MAX];
};
_Static_assert(sizeof(struct tcp_fingerprint) == 32, "tcp_fingerprint is ABI");

/* What p0f v3 calls quirks (p0f docs/README section 5), in the order in which it prints them, and what else a signature
 * asks of a SYN. */
enum tcp_quirk {
	QUIRK_DF = 1 << 0,           /* df: do not fragment */
	QUIRK_ID = 1 << 1,           /* id+: DF, but an IP ID that is not 0 */
	QUIRK_ZERO_ID = 1 << 2,      /* id-: no DF, but IP ID 0 */
	QUIRK_ECN = 1 << 3,          /* ecn */
	QUIRK_RESERVED = 1 << 4,     /* 0+: the reserved IPv4 flag */
	QUIRK_FLOW = 1 << 5,         /* flow: an IPv6 flow label */
	QUIRK_ZERO_SEQ = 1 << 6,     /* seq- */
	QUIRK_ACK = 1 << 7,          /* ack+: an acknowledgement number without the flag */
	QUIRK_ZERO_ACK = 1 << 8,     /* ack-: the flag without a number */
	QUIRK_URG_POINTER = 1 << 9,  /* uptr+: an urgent pointer without the flag */
	QUIRK_URG = 1 << 10,         /* urgf+ */
	QUIRK_PUSH = 1 << 11,        /* pushf+ */
	QUIRK_ZERO_TS = 1 << 12,     /* ts1-: its own timestamp is 0 */
	QUIRK_PEER_TS = 1 << 13,     /* ts2+: the peer's timestamp is not 0 */
	QUIRK_AFTER_EOL = 1 << 14,   /* opt+: bytes after EOL that are not 0 */
	QUIRK_SCALE = 1 << 15,       /* exws: a window scale above 14 */
	QUIRK_BAD_OPTIONS = 1 << 16, /* bad */
	QUIRK_PAYLOAD = 1 << 17,     /* not a quirk: the SYN carries data (payload class +) */
	QUIRK_TIMESTAMP =
		1 << 18, /* nor this: its own timestamp is not 0, which changes what a window is a multiple of */
};

/* What a SYN says beside its MuonFP content, as far as p0f signatures ask for it. */
struct tcp_facts {
	__u32 quirks;     /* enum tcp_quirk */
	__u8 version;     /* 4 or 6; 0: p0f would not read this SYN (a fragment, extension headers) */
	__u8 ttl;         /* as it arrived */
	__u8 olen;        /* bytes of IPv4 options */
	__u8 eol_pad;     /* bytes after EOL */
	__u8 options_len; /* bytes of TCP options */
	__u8 pad[3];
};
_Static_assert(sizeof(struct tcp_facts) == 12, "tcp_facts is ABI");

/* Where signatures are looked up. */
struct tcp_layout {
	__u8 version; /* 4 or 6 */
	__u8 kind_count;
	__u8 eol_pad;
	__u8 pad;
	__u8 kinds[TCP_OPTIONS_MAX];
};
_Static_assert(sizeof(struct tcp_layout) == 28, "tcp_layout is ABI");

enum tcp_window {
	WINDOW_ANY = 0,
	WINDOW_VALUE = 1,  /* a number */
	WINDOW_MODULO = 2, /* %n */
	WINDOW_MSS = 3,    /* mss*n */
	WINDOW_MTU = 4,    /* mtu*n */
};

enum tcp_signature_flags {
	SIGNATURE_ANY_MSS = 1,
	SIGNATURE_ANY_SCALE = 2,
	SIGNATURE_ANY_PAYLOAD = 4,
	SIGNATURE_RANDOM_TTL = 8, /* nnn-: any TTL up to this; else at most 35 hops below it */
};

/* One p0f v3 signature, without what its place in the map says: IP version, option layout and bytes after EOL. */
struct tcp_signature {
	__u32 head;        /* of the chain of rules; 0: the last one was before */
	__u32 quirks;      /* that must be, QUIRK_PAYLOAD among them */
	__u32 quirks_mask; /* that are looked at: for `*` not those of the other family */
	__u16 window;
	__u16 mss;        /* 0: absent */
	__u8 window_kind; /* enum tcp_window */
	__u8 scale;       /* 0: absent */
	__u8 ttl;         /* as it was sent */
	__u8 olen;
	__u8 flags; /* enum tcp_signature_flags */
	__u8 pad[3];
};
_Static_assert(sizeof(struct tcp_signature) == 24, "tcp_signature is ABI");

/* Signatures of one layout, in the order of the file: the first that fits counts. */
struct tcp_signatures {
	struct tcp_signature candidates[TCP_SIGNATURES_MAX];
};

/* JA4 (FoxIO technical_details/JA4.md) of a ClientHello and, where it differs, its stable JA4: the same without the
 * extensions that come and go with resumption and padding (0015, 0023, 0029, 002a, 002c). */
struct tls_fingerprint {
	__u8 a[10]; /* as printed, "t13d1516h2" */
	__u8 b[6];  /* the first bytes of the SHA-256; twelve digits in print */
	__u8 c[6];
	__u8 stable_c[6];
	__u8 stable_count[2]; /* the stable JA4's digits in place of a[6] and a[7] */
	__u8 pad[2];
};
_Static_assert(sizeof(struct tls_fingerprint) == 32, "tls_fingerprint is ABI");

enum ja4_form {
	JA4_A = 1,
	JA4_B = 2,
	JA4_C = 4,
	JA4_STABLE = 8, /* of the stable JA4 */
	JA4_FORMS = 16,
};

/* A JA4 feature: parts that are open are zero, and their bit of the form is missing. */
struct ja4_key {
	__u8 form; /* enum ja4_form, summed */
	__u8 pad;
	__u8 a[10];
	__u8 b[6];
	__u8 c[6];
};
_Static_assert(sizeof(struct ja4_key) == 24, "ja4_key is ABI");

/* What makes two ClientHellos the same to JA4, without sorting: sums over keyed hashes of the values, so that the order
 * does not count. The key is random, or a stranger could make one shape pass for another. */
struct shape_key {
	__u64 ciphers;
	__u64 extensions; /* without 0000 and 0010, as JA4_c */
	__u64 signatures; /* each with its place */
	__u16 version;
	__u8 alpn[2]; /* the two characters of JA4_a */
	__u8 sni;     /* 0 or 1 */
	__u8 cipher_count;
	__u8 extension_count;
	__u8 stable_count;
};
_Static_assert(sizeof(struct shape_key) == 32, "shape_key is ABI");

/* What is known of a shape. check covers key and content: a record that another processor is writing does not pass. */
struct shape {
	__u64 check;
	struct tls_fingerprint tls;
};
_Static_assert(sizeof(struct shape) == 40, "shape is ABI");

/* The first bytes that a client sent, until its ClientHello is whole. */
struct hello {
	__u64 lock_ns; /* when somebody took it; 0: free */
	__u64 owner;   /* keyed hash of the connection; 0: none */
	__u32 isn;
	__u16 len;      /* bytes held without a gap */
	__u16 far_from; /* and those behind one gap */
	__u16 far_to;
	__u16 pad[3];
	__u8 bytes[HELLO_BYTES];
};
_Static_assert(sizeof(struct hello) == 32 + HELLO_BYTES, "hello is ABI");

/* New shapes of one source prefix, or of one processor, in the running second. */
struct shape_budget {
	__u32 second;
	__u32 spent;
};

/* What a SYN said, kept for its first payload. check covers the key and the content: a record that two CPUs wrote
 * at once, or that belongs to another connection, does not pass for this one's. */
struct syn_record {
	__u64 check;
	__u32 isn;
	__u32 has_fingerprint;
	struct tcp_fingerprint fingerprint;
	struct tcp_facts facts;
	__u32 pad;
};
_Static_assert(sizeof(struct syn_record) == 64, "syn_record is ABI");

enum flow_flags {
	FLOW_CONFIRMED = 1,       /* a socket of this host vouched for the ISN */
	FLOW_FIRST_PAYLOAD = 2,   /* the first payload was scored */
	FLOW_HAS_FINGERPRINT = 4, /* the SYN's fingerprint is known */
	FLOW_HAS_TLS = 8,         /* the ClientHello's fingerprint is known */
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
	__u8 hint; /* a SYN came for this key: look whether a new connection took it over. Never relaxes anything */
	struct tcp_fingerprint fingerprint;
	struct tcp_facts facts;
	__u32 hello_end; /* bytes from ISN + 1 on that the ClientHello takes, or may take; 0: nothing here is looked at */
	struct tls_fingerprint tls;
};
_Static_assert(sizeof(struct flow) == 112, "flow is ABI");

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

/* One link of the chain of rules that a match points to; node 0 is "none". Scores add up, expired links do not count. */
struct rule_node {
	__u64 expires_ns;
	__s16 score;
	__u16 rule; /* index of the bundle's rule, for counting */
	__u16 next;
	__u16 pad;
};
_Static_assert(sizeof(struct rule_node) == 16, "rule_node is ABI");

struct policy {
	__u32 tag;  /* the service this was compiled for; another tag means another service: pass */
	__u8 drop;  /* score from which to drop; 0: never */
	__u8 reset; /* score from which to reset; 0: never */
	__u8 pad[2];
};
_Static_assert(sizeof(struct policy) == 8, "policy is ABI");

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
	__u32 pad;
	struct policy policies[SERVICES_MAX];
	__u16 reasons[REASON_MAX]; /* chain heads of reason features */
};
_Static_assert(sizeof(struct generation) == 448, "generation is ABI");

enum service_id_flags {
	/* Set beside the id in ports and addresses: the sockets are elsewhere, nobody here can confirm a payload. */
	SERVICE_REMOTE = 0x80,
	SERVICE_ID = 0x7f,
};

enum service_kind {
	KIND_TLS = 1,
	KIND_HTTP = 2,
	KIND_TCP = 3,
	KIND_QUIC = 4,
	KIND_UDP = 5,
};

struct service {
	__u32 tag; /* FNV-1a of the name */
	__u8 kind; /* enum service_kind */
	__u8 pad[3];
	__u8 name[32]; /* for people who read the map without an agent */
};
_Static_assert(sizeof(struct service) == 40, "service is ABI");

/* Everything small of the host file. */
struct host {
	__u64 agent_timeout_ns; /* all ones: never */
	__u32 number;
	__u32 service_count;
	struct service services[SERVICES_MAX];
};
_Static_assert(sizeof(struct host) == 1336, "host is ABI");

/* Services of one port, each as id, 0 for none. Port 0 stands for "any port": what cannot be read further
 * (later fragments, deep headers) is judged by its addresses. */
struct port {
	__u8 any4; /* SERVICE_REMOTE may be set */
	__u8 any6;
	__u8 exact; /* some service of this port names addresses: look there first */
	__u8 pad;
};
_Static_assert(sizeof(struct port) == 4, "port is ABI");

struct service_address {
	__be32 addr[4];
	__be16 port;
	__u8 protocol;
	__u8 pad;
};
_Static_assert(sizeof(struct service_address) == 20, "service_address is ABI");

struct prefix4_key {
	__u32 prefixlen;
	__be32 addr;
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
