// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

package bpf

// The compiler is pinned: what is committed beside this file was made by it, and CI makes it again and compares.
//
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -Wall -Wextra -Wno-unused-parameter -Wno-address-of-packed-member -mcpu=v3 -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu" -type reason -type verdict -type outcome -type mode -type stage -type service_kind -type service_id_flags -type service_flags -type policy_flags -type interface_flags -type interface -type flow_flags -type tcp_present -type tcp_quirk -type tcp_window -type tcp_signature_flags -type ja4_form -type hello_limit -type runtime -type socket_question -type flow_key -type flow -type syn_record -type tcp_fingerprint -type rule_node -type policy -type generation -type service -type host -type port -type service_address -type prefix4_key -type prefix6_key -type ban -type event -type event_budget -type counter -type counter_slot -type block_names -type vouched_key -type tcp_facts -type tcp_layout -type tcp_signature -type tcp_signatures -type tls_fingerprint -type ja4_key -type shape_key -type shape -type shape_budget -type hello Dataplane xdp.c
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -Wall -Wextra -Wno-unused-parameter -Wno-address-of-packed-member -mcpu=v3 -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu" -type root_words Root root.c
