// SPDX-License-Identifier: Apache-2.0

// Bench measures what a packet costs, and what visitors notice of bots, and writes docs/BENCHMARKS.md:
//
//	go run ./test/bench -o docs/BENCHMARKS.md
//
// Program runs. The kernel runs a program again and again on a frame of ours (BPF_PROG_TEST_RUN), so neither a driver
// nor a stack is in the numbers. A hot packet is the same one each time. Random packets come from a feeder, an XDP
// program that writes the next source, port and sequence number of a shuffled list into the frame and then tail-calls
// what is measured; the floor beside them is the feeder in front of a program that does nothing. Before anything is
// timed, each case proves by the dataplane's own counters that it takes the path that its name says.
//
// Live frames. The kernel sends the frames of such a run over a veth pair (BPF_F_TEST_XDP_LIVE_FRAMES); what arrives is
// counted by the receiving device, not by the sender.
//
// Web. Visitors ask an nginx behind a veth pair for pages at a fixed rate, while bots do what they do.
//
// Everything that is compared is measured in turns, round by round, in one process on one machine; what is reported is
// the median over the rounds, with the tenth and the ninetieth percentile, and ratios are made within a round.
package main
