// SPDX-License-Identifier: Apache-2.0

// Package oracle is a second opinion on the dataplane: parse and decide in Go, written from the design and from the
// specifications (IEEE 802.1Q, RFC 791, 8200, 6946, 9293), clear rather than fast.
//
// A Model takes frames one after another and says for each which counter must move: service, slot, reason, outcome. It
// remembers what SYNs said and the verdicts of connections, as far as a program run without sockets reaches: no socket
// confirms anything there, so connections are kept, and charged to limits, only for services with `local: false`, and
// no reason may block alone. Nothing blocked is kept: it is judged and charged again with each packet. It counts the
// packets that end a sight (bpf/sight.h), of which hello_hidden is never said.
//
// test/dataplane/oracle compares it with the programs, by program runs of mutated frames in random worlds.
package oracle
