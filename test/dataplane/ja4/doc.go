// SPDX-License-Identifier: Apache-2.0

// Package ja4 proves what the kernel makes of ClientHellos: single frames go through the programs (BPF_PROG_TEST_RUN),
// and the fingerprint that the kernel kept with the flow is compared with package reference, which was written from the
// specification and knows nothing of the kernel's code.
//
// Streams come from captures, from package clienthello's generator (SPILLWAY_SEED repeats a run, SPILLWAY_HELLOS sets
// its length), and from named cases that play the attacker. Most go to a service whose sockets are elsewhere: there a
// SYN and a payload are all it takes. Those about connections have real sockets in a network namespace of their own.
//
// One dataplane serves the whole package, for loading one costs seconds. The tests need root.
package ja4
