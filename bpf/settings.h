/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* settings.h holds what the loader decides once per load of the program; the verifier removes what is off. */
#ifndef SPILLWAY_SETTINGS_H
#define SPILLWAY_SETTINGS_H

#include "types.h"

struct dataplane_settings {
	__u32 syn_mask;            /* entries of `syns` less one; entries are a power of two */
	__u32 events_per_second;   /* per CPU; more are counted as lost */
	__u32 event_sample_mask;   /* of passes, one in mask + 1 becomes an event; blocks always do */
	__u32 rules_max;           /* rules that can be told apart in the counters: entries of `rule_hits` per slot */
	__u32 hello_mask;          /* entries of `hellos` less one; entries are a power of two */
	__u32 shape_budget_mask;   /* entries of `shape_budgets` less one */
	__u32 shapes_per_second;   /* new shapes whose JA4 one CPU computes in a second: the cost of a flood of them */
	__u32 shapes_per_prefix;   /* and of one source prefix, so that one flood does not spend it all */
	__u32 conntrack_next;      /* this load's entry where the program goes on that asks connection tracking */
	__u32 unproven_per_second; /* of packets that no socket vouches for, those that may cost one CPU more than 1 µs */
	__u32 is_lab;              /* attached nowhere: what the SYN of a remote service says is believed */
	__u32 is_realtime;         /* PREEMPT_RT: see take_workspace() */
	__u32 vote_seconds;        /* a source prefix votes once in so many: a day */
	__u32 budget_seconds;      /* a window of the budget */
	__u32 is_clocked;          /* attached nowhere: the time is that of the words */
	__u32 pad;
};
_Static_assert(sizeof(struct dataplane_settings) == 64, "dataplane_settings is ABI");

volatile const struct dataplane_settings settings = {
	.syn_mask = 65535,
	.events_per_second = 500,
	.event_sample_mask = 63,
	.rules_max = 4096,
	.hello_mask = 2047,
	.shape_budget_mask = 16383,
	.shapes_per_second = 2000,
	.shapes_per_prefix = 32,
	.unproven_per_second = 200,
	.vote_seconds = 86400,
	.budget_seconds = 10,
};

#endif
