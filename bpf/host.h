/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* host.h holds the types of what the host file says and of what the host is: services, ports, addresses, interfaces. */
#ifndef SPILLWAY_HOST_H
#define SPILLWAY_HOST_H

#include <linux/types.h>

enum {
	/* Service 0 is "no service". 32 is what one host file may list; more would only fatten the per-CPU counters. */
	SERVICES_MAX = 33,
};

/* A trie costs as much as all else that the front does, and most of a flood's sources have no row in it: a bit for the first byte of
 * each IPv4 address that may have one, and in the last word whether any of IPv6 is there. */
enum {
	FIRST_BYTES = 5,
};

enum service_id_flags {
	/* Set beside the id in ports and addresses: the sockets are elsewhere, nobody here can confirm a payload. */
	SERVICE_REMOTE = 0x80,
	/* It is the service's with this host file only: a generation that is behind passes on it. */
	SERVICE_FRESH = 0x40,
	SERVICE_ID = 0x3f,
	/* What lookup_service says beside them: some interfaces are new, so that traffic may be fresh by where it comes in. */
	SERVICE_BY_INTERFACE = 0x100,
};

enum service_kind {
	KIND_TLS = 1,
	KIND_HTTP = 2,
	KIND_TCP = 3,
	KIND_QUIC = 4,
	KIND_UDP = 5,
};

enum service_flags {
	SERVICE_PROXY_PROTOCOL = 1, /* connections begin with a PROXY header, which is stepped over */
	SERVICE_STRIP_MPTCP = 2,    /* MP_CAPABLE and MP_JOIN of SYNs become NOPs */
	SERVICE_ASKS_CONNTRACK = 4, /* where no socket vouches for a connection, connection tracking may */
	SERVICE_ASKS_EGRESS = 8,    /* where no socket vouches for a connection, the answer to its SYN may */
};

/* The strongest verdict that a host file leaves to bundles, weakest first. */
enum most {
	MOST_PASS = 0,
	MOST_TAG = 1,
	MOST_LIMIT = 2,
	MOST_DROP = 3,
	MOST_RESET = 4,
};

struct service {
	__u32 tag;        /* FNV-1a of the name */
	__u8 kind;        /* enum service_kind */
	__u8 flags;       /* enum service_flags */
	__u8 most;        /* enum most: the strongest verdict of any bundle */
	__u8 most_before; /* the same, for a generation that is behind */
	__u8 name[32];    /* for people who read the map without an agent */
};
_Static_assert(sizeof(struct service) == 40, "service is ABI");

/* Everything small of the host file. */
struct host {
	__u64 agent_timeout_ns; /* all ones: never */
	__u64 accepted_reasons; /* a bit each, 1 << reason: weak ones that this host lets a rule block by */
	__u64 accepted_before;  /* the same, for a generation that is behind */
	__u32 number;
	__u32 service_count;
	struct service services[SERVICES_MAX];
	__u64 listed[FIRST_BYTES]; /* whose row the allowlist may have */
};
_Static_assert(sizeof(struct host) == 1392, "host is ABI");

/* Services of one port, each as id, 0 for none. Port 0 stands for "any port": what cannot be read further
 * (later fragments, deep headers) is judged by its addresses. */
struct port {
	__u8 any4; /* SERVICE_REMOTE may be set */
	__u8 any6;
	__u8 exact;        /* some service of this port names addresses: look there first */
	__u8 by_interface; /* some interfaces are INTERFACE_FRESH: look whether this one is */
};
_Static_assert(sizeof(struct port) == 4, "port is ABI");

struct service_address {
	__be32 addr[4];
	__be16 port;
	__u8 protocol;
	__u8 pad;
};
_Static_assert(sizeof(struct service_address) == 20, "service_address is ABI");

enum interface_flags {
	INTERFACE_PARTIAL_SUMS =
		1, /* frames may come with the pseudo-header's sum only: the sender's card was to add the rest */
	INTERFACE_NO_TX = 2, /* XDP_TX does not leave it: an answer would be lost */
	INTERFACE_FRESH =
		4, /* the host file in force is the first that names it: a generation that is behind passes there */
};

/* What an interface is, that packets cannot say. One without an entry has no flags. */
struct interface {
	__u32 flags; /* enum interface_flags */
	__u32 pad;
};
_Static_assert(sizeof(struct interface) == 8, "interface is ABI");

#endif
