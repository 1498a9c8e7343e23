/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* service.h answers whether a destination is a service. */
#ifndef SPILLWAY_SERVICE_H
#define SPILLWAY_SERVICE_H

#include <linux/in.h>

#include "maps.h"
#include "packet.h"
#include "slots.h"
#include "source.h"

static __always_inline __u32 service_at(const struct packet *p, __u32 slot, void *ports, __u8 protocol, __be16 port)
{
	__u32 index = bpf_ntohs(port) + (protocol == IPPROTO_UDP ? 65536 : 0);
	struct port *entry = bpf_map_lookup_elem(ports, &index);
	if (!entry)
		return 0;
	__u32 beside = entry->by_interface ? SERVICE_BY_INTERFACE : 0;
	if (entry->exact) {
		void *addresses = bpf_map_lookup_elem(&host_addresses, &slot);
		if (addresses) {
			struct service_address key = { .port = port, .protocol = protocol };
			__builtin_memcpy(key.addr, p->key.daddr, sizeof(key.addr));
			__u32 *id = bpf_map_lookup_elem(addresses, &key);
			if (id)
				return *id | beside;
		}
	}
	__u32 any = is_ipv4(p->key.daddr) ? entry->any4 : entry->any6;
	return any ? any | beside : 0;
}

/* lookup_service returns the id of the service that the packet is for, with its flags beside it, 0 for none. */
static __always_inline __u32 lookup_service(const struct packet *p)
{
	__u32 slot = control_host(p->control);
	void *ports = bpf_map_lookup_elem(&host_ports, &slot);
	if (!ports)
		return 0;
	if (!(p->flags & PACKET_ADDRESSES_ONLY)) /* port 0 is our "any port", and nobody's service */
		return p->key.dport ? service_at(p, slot, ports, p->protocol, p->key.dport) : 0;
	if (p->protocol)
		return service_at(p, slot, ports, p->protocol, 0);
	__u32 id = service_at(p, slot, ports, IPPROTO_TCP, 0);
	return id ? id : service_at(p, slot, ports, IPPROTO_UDP, 0);
}

/* service_of returns what the host file says of p's service. */
static __always_inline struct service *service_of(const struct packet *p)
{
	__u32 zero = 0, slot = control_host(p->control), service = p->service;
	void *inner = bpf_map_lookup_elem(&hosts, &slot);
	struct host *h = inner ? bpf_map_lookup_elem(inner, &zero) : 0;
	bounded(service);
	return h && service < SERVICES_MAX ? &h->services[service] : 0;
}

static __always_inline bool is_fresh_interface(__u32 index)
{
	struct interface *in = bpf_map_lookup_elem(&interfaces, &index);
	return in && in->flags & INTERFACE_FRESH;
}

/* find_service leaves the service in p and returns its id, 0 for none. */
static __always_inline __u32 find_service(struct packet *p, __u32 interface)
{
	__u32 found = lookup_service(p);
	if (found & SERVICE_REMOTE)
		p->flags |= PACKET_REMOTE;
	if (found & (SERVICE_FRESH | SERVICE_BY_INTERFACE))
		p->marks = found & SERVICE_FRESH || is_fresh_interface(interface) ? MARK_FRESH : 0;
	p->service = found & SERVICE_ID;
	return found & SERVICE_ID;
}

#endif
