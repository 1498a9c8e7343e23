/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* kernel.h holds the fields that are read of the kernel's own structs; CO-RE finds them wherever they lie. A kernel without
 * TCP-AO (before 6.7, or built without) has no ao_info, one without TCP-MD5 no md5sig_info: ask bpf_core_field_exists. */
#ifndef SPILLWAY_KERNEL_H
#define SPILLWAY_KERNEL_H

#include <linux/types.h>
#include <bpf/bpf_core_read.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct tcp_options_received {
	int ts_recent_stamp; /* seconds of CLOCK_MONOTONIC */
	__u32 ts_recent;
	__u16 saw_tstamp : 1, tstamp_ok : 1;
};

struct rb_node {
	unsigned long __rb_parent_color;
};

struct rb_root {
	struct rb_node *rb_node;
};

struct sk_buff {
	char cb[48];
};

/* What TCP keeps in cb; the flags are of 8 or 16 bits. */
struct tcp_skb_cb {
	__u8 tcp_flags;
};

struct tcp_sock {
	__u32 rcv_nxt;
	__u32 rcv_wup; /* rcv_nxt of the last window that was sent */
	__u32 rcv_wnd;
	__u32 snd_una;
	__u32 snd_nxt;
	__u32 max_window;
	__u32 urg_seq;  /* of the urgent byte, */
	__u16 urg_data; /* if there is one that the application has not passed */
	__u64 bytes_received;
	__u64 bytes_acked;
	struct tcp_options_received rx_opt;
	struct rb_root out_of_order_queue;
	struct sk_buff *ooo_last_skb; /* says something while there is such a queue */
	void *md5sig_info;
	void *ao_info;
};

struct sock_common {
	__u32 skc_rcv_wnd;
};

struct request_sock {
	struct sock_common __req_common;
	__u32 ts_recent;
};

struct inet_request_sock {
	struct request_sock req;
	__u16 snd_wscale : 4, rcv_wscale : 4, tstamp_ok : 1;
};

struct tcp_request_sock {
	struct inet_request_sock req;
	__u32 rcv_isn;
	__u32 snt_isn;
	__u32 snt_tsval_first; /* with _last from 6.15 on */
	__u32 snt_tsval_last;
};

#pragma clang attribute pop

#endif
