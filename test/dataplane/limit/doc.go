// SPDX-License-Identifier: Apache-2.0

// Package limit tests two promises of the dataplane by their definition: that of any time a key gets at most its burst
// and what its rate admits in that time (bpf/limit.h), and which addresses are called shared (bpf/sharer.h).
//
// A program of its own (limit.c) asks the functions of these headers, with keys, rates and moments that a test chooses:
// from many threads at once, by clocks that differ, in sets that are full, and where the clock of the limits wraps.
package limit
