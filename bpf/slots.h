/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* slots.h has the maps that exist once a slot: what a host file and a bundle say. They are inner maps that the loader builds aside,
 * reads back, freezes and only then puts here. The programs cannot write them (BPF_F_RDONLY_PROG), user space no longer can. A slot
 * without inner maps passes. */
#ifndef SPILLWAY_SLOTS_H
#define SPILLWAY_SLOTS_H

#include <bpf/bpf_helpers.h>

#include "types.h"

#define SLOT_MAP(name, inner)                                                                                          \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                                                              \
		__uint(max_entries, SLOTS);                                                                            \
		__type(key, __u32);                                                                                    \
		__array(values, struct inner);                                                                         \
	} name SEC(".maps")

struct host_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, __u32);
	__type(value, struct host);
};
SLOT_MAP(hosts, host_inner);

/* Index: port, plus 65,536 for UDP. */
struct ports_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * 65536);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, __u32);
	__type(value, struct port);
};
SLOT_MAP(host_ports, ports_inner);

struct addresses_inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, struct service_address);
	__type(value, __u32);
};
SLOT_MAP(host_addresses, addresses_inner);

struct allowlist_inner {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG);
	__type(key, struct prefix6_key);
	__type(value, __u32);
};
SLOT_MAP(host_allowlist, allowlist_inner);

struct generation_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, __u32);
	__type(value, struct generation);
};
SLOT_MAP(generations, generation_inner);

struct rules_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_RDONLY_PROG | BPF_F_INNER_MAP);
	__type(key, __u32);
	__type(value, struct rule_node);
};
SLOT_MAP(rules, rules_inner);

/* Values of the feature maps are heads of rule chains. This one has them in pages, and is as long as its rows need: see
 * prefix.h. */
struct prefix_pages_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_RDONLY_PROG | BPF_F_INNER_MAP);
	__type(key, __u32);
	__type(value, struct prefix_page);
};
SLOT_MAP(prefixes4, prefix_pages_inner);

/* Of IPv6: what is routed, to the /64. */
SLOT_MAP(prefixes6, prefix_pages_inner);

/* Single addresses. */
struct prefixes6_hosts_inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, struct address6);
	__type(value, __u32);
};
SLOT_MAP(prefixes6_hosts, prefixes6_hosts_inner);

/* And all else: outside of 2000::/3, or longer than a /64. */
struct prefixes6_far_inner {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG);
	__type(key, struct prefix6_key);
	__type(value, __u32);
};
SLOT_MAP(prefixes6_far, prefixes6_far_inner);

struct tcp_fingerprints_inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, struct tcp_fingerprint);
	__type(value, __u32);
};
SLOT_MAP(tcp_fingerprints, tcp_fingerprints_inner);

/* Values hold the heads of rule chains. */
struct tcp_layouts_inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, struct tcp_layout);
	__type(value, struct tcp_signatures);
};
SLOT_MAP(tcp_layouts, tcp_layouts_inner);

struct ja4s_inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, struct ja4_key);
	__type(value, __u32);
};
SLOT_MAP(ja4s, ja4s_inner);

#endif
