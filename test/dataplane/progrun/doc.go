// SPDX-License-Identifier: Apache-2.0

// Package progrun holds tests that send single frames through the programs in the kernel, without any interface
// (BPF_PROG_TEST_RUN): packets, settings and maps in; XDP verdict, reason and outcome out; and after every packet the
// proof that no other counter moved.
//
// A case is written once and runs over IPv4 and IPv6. The tests of "Flow state, safe against forgery" play the attacker
// around real connections: each has a network namespace of its own with sockets on its loopback, because the kernel
// looks for sockets in the namespace of the thread that runs the program.
//
// They need root and a BPF file system; without root they say so and are left out, and in CI they fail.
package progrun
