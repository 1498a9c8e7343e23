/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* maps.h holds the maps that a dataplane has once: key, value, who writes, and what happens when one is full. The loader sets the
 * sizes. slots.h holds those that it has once a slot. */
#ifndef SPILLWAY_MAPS_H
#define SPILLWAY_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "root.h"
#include "settings.h"
#include "types.h"
#include "workspace.h"

/* Words that change at run time: one entry. Written by user space through a memory mapping, read by every packet. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct runtime);
} words SEC(".maps");

/* What the dataplane hands over to. An empty entry falls through. Each load of the programs has an array of its own, so
 * that a packet meets programs of one load only. The kernel empties it when its last user reference goes: it is pinned
 * before its dataplane is put in force, and for a grace period after another one was. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, PROGRAMS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} programs SEC(".maps");

/* Verdicts of confirmed connections. Written by the dataplane, and only after a socket or connection tracking vouched for
 * the connection, so that forged packets cannot fill it. When full the least recently used goes: its next data is midstream. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 262144);
	__type(key, struct flow_name);
	__type(value, struct flow);
} flows SEC(".maps");

/* What SYNs said: direct-mapped by a keyed hash, overwritten, never evicted and never locked (an insert into a full
 * LRU costs 0.7 to 1 µs, a store here 0.1 µs, and a SYN flood empties an LRU). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct syn_record);
} syns SEC(".maps");

/* How many packets passed unread, by a keyed hash of both addresses; entry 0: of which not even these are known. Written by the
 * dataplane. Who shares a place with another pair of addresses is taken for it: then less is called hidden. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, UNREAD_PLACES);
	__type(key, __u32);
	__type(value, __u32);
} unread SEC(".maps");

/* What answered SYNs: direct-mapped like `syns`. Written by spillway_egress, for services with `confirm: egress`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SYN_ANSWERS);
	__type(key, __u32);
	__type(value, struct syn_answer);
} syn_answers SEC(".maps");

/* One entry, struct workspace. Nothing in it outlives its packet but the budget. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct workspace);
} workspaces SEC(".maps");

/* Whose the places in `hellos` are, eight to a set; a connection has its place in one of two sets, by a keyed hash (place.h).
 * The upper half is for what no socket vouches for. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct hello_set);
} hello_sets SEC(".maps");

/* ClientHellos that are not whole yet. One that is decided gives its place back. When all sixteen of a new one are taken,
 * the one goes that nothing came to for the longest time: it stays unread, and its flow says so. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2048);
	__type(key, __u32);
	__type(value, struct hello);
} hellos SEC(".maps");

/* JA4 of the shapes seen: written by the dataplane. Those that no feature of the day names, and those that one does;
 * apart, so that a flood of new shapes does not evict what rules look for. When full the least recently used goes. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct shape_key);
	__type(value, struct shape);
} shapes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct shape_key);
	__type(value, struct shape);
} shapes_listed SEC(".maps");

/* How many new shapes a source prefix (/24, /48) showed in this second: direct-mapped by a keyed hash. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct shape_budget);
} shape_budgets SEC(".maps");

/* Bans: longest match over ::ffff:-mapped addresses. Written by user space, which refuses when it is full. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix6_key);
	__type(value, struct ban);
} bans SEC(".maps");

/* Sources that are spared for a while, as the allowlist spares for good; a ban holds all the same. Key to end, CLOCK_MONOTONIC.
 * Written by user space, which refuses when it is full: nobody who was vouched for is evicted. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct vouched_key);
	__type(value, __u64);
} vouched SEC(".maps");

/* Interfaces by index. Written by user space, with each attach. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct interface);
} interfaces SEC(".maps");

/* Packets and connections by {service, slot, reason}, and by outcome within, see count(). Written by the exit; user space
 * takes a slot's part away before the slot is filled again. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, struct counter);
} counters SEC(".maps");

/* Connections that were blocked a moment ago: what comes again is not counted again. One entry. A processor has its own: a
 * network card sends all packets of a connection to one, and a flood of SYNs passes no cache line around. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct block_names);
} recent_blocks SEC(".maps");

/* One entry: sockets that the FIN of a blocked connection released. Written by release(). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} releases SEC(".maps");

/* Matches by {slot, rule}. User space zeroes a slot's part before the slot is filled again. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS * 4096);
	__type(key, __u32);
	__type(value, __u64);
} rule_hits SEC(".maps");

/* Which source prefixes voted, and in which arm of a canary they are: votes.h. Written by the program that compares, never
 * evicted: where a set is full nothing is counted. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VOTE_SETS);
	__type(key, __u32);
	__type(value, struct vote_set);
} votes SEC(".maps");

/* Which source prefixes were charged to a budget in this window: charge.h. Where a set is full the block passes. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MARK_SETS);
	__type(key, __u32);
	__type(value, struct vote_set);
} marks SEC(".maps");

/* Votes by pair of verdicts, signed: one that moves is taken from where it was, also when another generation got it. Written by
 * the program that compares; the agent removes what belongs to a generation that is compared no more. What finds no room
 * is counted as lost. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PAIRS_MAX);
	__type(key, struct pair_key);
	__type(value, __s64);
} pairs SEC(".maps");

/* Votes by rule without which a new block would be none. As `pairs`. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BLAME_MAX);
	__type(key, struct blame_key);
	__type(value, __s64);
} blame SEC(".maps");

/* Budget, arms and the last hit of each lane. Written by the program that compares; the agent zeroes it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LANES);
	__type(key, __u32);
	__type(value, struct trial);
} trials SEC(".maps");

/* Limits: when the next connection of a key comes by its rate, see limit.h. Written by the dataplane, with what somebody vouches for
 * alone. A full set gives up the key that is nearest to having all of its rate again; that is counted. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LIMIT_SETS);
	__type(key, __u32);
	__type(value, struct limit_set);
} limits SEC(".maps");

/* Which kinds of clients an address showed in its hellos, see sharer.h. As `limits`; a full set gives up the address with the fewest. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SHARER_SETS);
	__type(key, __u32);
	__type(value, struct limit_set);
} sharers SEC(".maps");

/* One entry: what a processor could not hold to a limit. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct limit_count);
} limit_counts SEC(".maps");

/* What each processor counted of a lane. As `trials`. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LANES);
	__type(key, __u32);
	__type(value, struct lane_count);
} lane_counts SEC(".maps");

/* Decisions for people and tools: lossy by design. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct event_budget);
} event_budgets SEC(".maps");

/* clang leaves a struct that only an inner map or user space mentions out of BTF, unless a global does too. */
#define KEEP_TYPE(name) const struct name *keep_##name __attribute__((unused))
KEEP_TYPE(host);
KEEP_TYPE(port);
KEEP_TYPE(service_address);
KEEP_TYPE(generation);
KEEP_TYPE(rule_node);
KEEP_TYPE(policy);
KEEP_TYPE(prefix_page);
KEEP_TYPE(address6);
KEEP_TYPE(tcp_fingerprint);
KEEP_TYPE(event);
KEEP_TYPE(tcp_layout);
KEEP_TYPE(tcp_signatures);
KEEP_TYPE(ja4_key);
KEEP_TYPE(socket_question);
#define KEEP_ENUM(name) const enum name *keep_enum_##name __attribute__((unused))
KEEP_ENUM(reason);
KEEP_ENUM(counter_slot);
KEEP_ENUM(verdict);
KEEP_ENUM(outcome);
KEEP_ENUM(mode);
KEEP_ENUM(control_shift);
KEEP_ENUM(stage);
KEEP_ENUM(service_kind);
KEEP_ENUM(service_id_flags);
KEEP_ENUM(service_flags);
KEEP_ENUM(policy_flags);
KEEP_ENUM(interface_flags);
KEEP_ENUM(flow_flags);
KEEP_ENUM(flow_hints);
KEEP_ENUM(tcp_present);
KEEP_ENUM(tcp_quirk);
KEEP_ENUM(tcp_window);
KEEP_ENUM(tcp_signature_flags);
KEEP_ENUM(ja4_form);
KEEP_ENUM(hello_limit);
KEEP_ENUM(rule_flags);
KEEP_ENUM(no_rule);
KEEP_ENUM(pair);
KEEP_ENUM(class);
KEEP_ENUM(limit_key);
KEEP_ENUM(most);
KEEP_ENUM(family);

/* The two maps of one entry that every stage reads. */
static __always_inline struct workspace *get_workspace(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&workspaces, &zero);
}

static __always_inline struct runtime *get_words(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&words, &zero);
}

/* clock_ns returns the time by CLOCK_MONOTONIC, a few milliseconds late: reading it exactly costs 20 ns. Where a test sets the clock it
 * is a word; elsewhere the verifier removes the question. */
static __always_inline __u64 clock_ns(void)
{
	struct runtime *rt = settings.is_clocked ? get_words() : 0;
	return rt ? *(volatile __u64 *)&rt->clock_ns : bpf_ktime_get_coarse_ns();
}

/* take_workspace says whether the workspace is now the caller's. Packets of one processor come after each other, but on PREEMPT_RT:
 * there a task that receives may be interrupted by another in the middle of a packet, where the kernel takes no lock around
 * softirqs (from 6.18 on by choice). Elsewhere the verifier removes the question. */
static __always_inline bool take_workspace(struct workspace *ws)
{
	return !settings.is_realtime || !__sync_lock_test_and_set(&ws->is_busy, 1);
}

static __always_inline void leave_workspace(struct workspace *ws)
{
	if (settings.is_realtime)
		*(volatile __u32 *)&ws->is_busy = 0;
}

#endif
