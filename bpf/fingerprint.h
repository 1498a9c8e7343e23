/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* fingerprint.h holds the types of fingerprints: what a SYN and a ClientHello say, and what features look for in them. */
#ifndef SPILLWAY_FINGERPRINT_H
#define SPILLWAY_FINGERPRINT_H

#include <linux/types.h>

enum {
	/* p0f reads at most 24 options of a SYN (MAX_TCP_OPT); no system sends more than 10. */
	TCP_OPTIONS_MAX = 24,
	/* Signatures of one IP version and option layout; the loader refuses more. */
	TCP_SIGNATURES_MAX = 8,
};

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
	__u8 families[4]; /* that send this layout, by the TTL that they begin with: 64, 128, 255 */
};

/* What a ClientHello may be to be fingerprinted; the work of a forged one is bounded by these. */
enum hello_limit {
	/* Bytes from ISN + 1 on, record headers included: a record of TLS but for five bytes. Clients of 2026 send 300 to
	 * 2,100. A power of two, so that a masked offset is always inside. */
	HELLO_MAX = 16384,
	/* JA4 prints two digits, and 99 for more. */
	HELLO_CIPHERS_MAX = 99,
	HELLO_EXTENSIONS_MAX = 99,
	HELLO_SIGNATURES_MAX = 64,
	/* Of a hello that no socket vouches for; clients send one. Of a proven one the bytes are the limit. */
	HELLO_RECORDS_MAX = 64,
	/* Of putting records together, for one packet: a record, or up to 32 bytes of one, a round. */
	HELLO_ROUNDS_MAX = 1024,
};

/* The longest piece of a hello that is copied at once. */
#define HELLO_PIECE 2048
/* A hello's buffer, so that neither a piece nor a word that begins at its last byte leaves it. */
#define HELLO_BYTES (HELLO_MAX + HELLO_PIECE + 8)

/* JA4 (FoxIO technical_details/JA4.md) of a ClientHello and, where it differs, its stable JA4: the same without the
 * extensions that come and go with resumption and padding (0015, 0023, 0029, 002a, 002c). */
struct tls_fingerprint {
	__u8 a[10]; /* as printed, "t13d1516h2" */
	__u8 b[6];  /* the first bytes of the SHA-256; twelve digits in print */
	__u8 c[6];
	__u8 stable_c[6];
	__u8 stable_count[2]; /* the stable JA4's digits in place of a[6] and a[7] */
	__u8 is_head;         /* a and stable_count are all that is known */
	__u8 pad;
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

/* One bit for each byte of a hello. */
struct hello_bits {
	__u64 words[HELLO_MAX / 64];
};

/* The first bytes that a client sent, until its ClientHello is whole. An offset is one of the stream without the byte that was
 * urgent. In front of flat_from lies the message that was put together there (record.h). */
struct hello {
	__u64 lock_ns;   /* when somebody took it; 0: free */
	__u64 owner;     /* keyed hash of the connection and its ISN; 0: none */
	__u32 len;       /* bytes held without a gap */
	__u32 far_to;    /* the end of what lies behind gaps; 0: nothing does */
	__u32 used_to;   /* of the bitmaps: behind it they are zero */
	__u32 urgent;    /* one more than the offset in the stream of the byte that was taken out; 0: none was */
	__u32 flat_from; /* of record.h: the message was put together from the bytes before this one, */
	__u32 flat_to;   /* up to here, */
	__u32 flat_left; /* and so many of the record are still to come */
	__u32 flat_records;
	__u32 fin; /* one more than the offset of the FIN, which counts as a byte; 0: none came, or one that was replaced */
	__u32 pad;
	struct hello_bits received; /* behind the gap */
	struct hello_bits starts;   /* the first bytes of the pieces that wait there */
	struct hello_bits lasts;    /* and their last ones */
	__u8 bytes[HELLO_BYTES];
};
_Static_assert(sizeof(struct hello) == 56 + 3 * HELLO_MAX / 8 + HELLO_BYTES, "hello is ABI");

/* A cache line of eight places, a word for each: the upper bits of whose it is, the lower ones of when something came to it
 * last, in units of 2^16 ns; 0: it is free. */
enum { HELLO_WAYS = 8 };
struct hello_set {
	__u64 ways[HELLO_WAYS];
};
_Static_assert(sizeof(struct hello_set) == 64, "hello_set is ABI");

/* New shapes of one source prefix, or of one processor, in the running second. */
struct shape_budget {
	__u32 second;
	__u32 spent;
};

#endif
