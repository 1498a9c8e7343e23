// SPDX-License-Identifier: Apache-2.0

// Package receiver sends seeded schedules of TCP segments to a real Linux receiver behind the attached dataplane, and
// compares what the application could read with what the dataplane read.
//
// Each schedule is one client's connection: the hello of a listed or of a harmless client, in TLS records, cut,
// shuffled, repeated, and between its segments others that a receiver ignores or takes otherwise than one thinks. The
// other bytes are mostly those of a twin, whose hello differs in one value: whichever bytes a receiver joins, it has a
// hello, whose JA4 says whose bytes they were. A schedule is played before a service that only looks on, so that Linux
// has all of it, and then before one that blocks. A schedule that fails is shrunk, and printed as a line that plays it
// again:
//
//	go test ./test/dataplane/receiver -run ServedMeansRead -v -schedule LINE
//
// What Linux does with bytes beyond the next expected one that come twice (linux_test.go has each row): a segment
// inside one that is queued is dropped, so the first counts; a segment around queued ones replaces them, and so does
// one with the same start that is longer, so the last counts; where two overlap in part, the one that starts earlier
// has the bytes in common; what comes in order beats all that is queued. A FIN is the last byte of its segment, and
// goes with it. Two segments that touch become one when the second is queued behind the first, where the driver's
// buffers allow it, and stay two when it is queued in front: so nobody but the receiver knows what counts.
package receiver
