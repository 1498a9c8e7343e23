/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* wire.h has the numbers of the formats that packets are written in, where Linux's headers have none that a BPF program can
 * include. What Spillway itself decides (how far it reads, how much it keeps) stands with the code that decides it. */
#ifndef SPILLWAY_WIRE_H
#define SPILLWAY_WIRE_H

#include <stdbool.h>
#include <linux/if_ether.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>

/* IEEE 802.1Q. */
struct vlan_tag {
	__be16 tci;
	__be16 ethertype;
};

static __always_inline bool is_tag(__u16 ethertype)
{
	return ethertype == ETH_P_8021Q || ethertype == ETH_P_8021AD;
}

/* IPv4, RFC 791: bits of the seventh and eighth byte, and a first byte. */
#define IPV4_OFFSET 0x1fff
#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_DONT_FRAGMENT 0x4000
#define IPV4_RESERVED 0x8000
#define IPV4_WITHOUT_OPTIONS 0x45

/* An IPv4 address stands in four words as ::ffff:a.b.c.d, RFC 4291 section 2.5.5.2. */
static __always_inline bool is_ipv4(const __be32 addr[4])
{
	return !addr[0] && !addr[1] && addr[2] == bpf_htonl(0xffff);
}

/* IPv6, RFC 8200. */
#define IPV6_FLOW_LABEL 0xfffff
#define IPV6_OFFSET 0xfff8
#define IPV6_MORE_FRAGMENTS 0x0001

struct extension {
	__u8 next;
	__u8 len; /* 8-byte units after the first 8; for AH 4-byte units less 2 */
};

struct fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 frag_off; /* 13 bits offset, 2 reserved, 1 more fragments */
	__be32 id;
};

/* TCP, RFC 9293: bits of the fourteenth byte; ECN is of RFC 3168. */
#define TCP_BIT_FIN 0x01
#define TCP_BIT_SYN 0x02
#define TCP_BIT_RST 0x04
#define TCP_BIT_PUSH 0x08
#define TCP_BIT_ACK 0x10
#define TCP_BIT_URG 0x20
#define TCP_BITS_ECN 0xc0
/* Of the byte that holds the data offset, RFC 3540. */
#define TCP_BIT_NONCE 0x01

#define TCP_OPTIONS_BYTES 40 /* a data offset of 15 words less the header */
#define OPTION_EOL 0
#define OPTION_NOP 1
#define OPTION_MSS 2
#define OPTION_SCALE 3
#define SCALE_MAX 14 /* RFC 7323 section 2.3 */
#define OPTION_SACK_PERMITTED 4
#define OPTION_SACK 5
#define OPTION_TIMESTAMPS 8
#define OPTION_TIMESTAMPS_LEN 10
#define OPTION_MD5 19 /* RFC 2385 */
#define OPTION_MD5_LEN 18
#define OPTION_AO 29    /* RFC 5925 */
#define OPTION_AO_LEN 5 /* the least */
#define OPTION_MPTCP 30 /* RFC 8684 */
#define MPTCP_CAPABLE 0
#define MPTCP_JOIN 1

/* TLS, RFC 8446 sections 4 and 5.1, appendix B. */
#define TLS_CHANGE_CIPHER_SPEC 0x14
#define TLS_ALERT 0x15
#define TLS_ALERT_WARNING 1
#define TLS_HANDSHAKE 0x16
#define TLS_MAJOR_END 16 /* the first major version of a record that no server takes */
#define TLS_CLIENT_HELLO 1
#define TLS_RECORD_HEADER 5
#define TLS_MESSAGE_HEADER 4
#define TLS_RECORD_MAX 16384

#endif
