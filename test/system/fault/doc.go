// SPDX-License-Identifier: Apache-2.0

// Package fault fails and kills the real agent and the real command at every system call that matters, spoils what it
// keeps on disk, and takes away what it needs of the kernel, while visitors and bots knock on a real web server.
//
// After each fault three things are asked: did a visitor notice, did a bot get through that a generation in force
// blocks, and is what the kernel holds the generation of before or the new one, row by row, never anything else.
//
// make test visits a few points of a ninth of the operations, chosen by a seed that it prints (SPILLWAY_SEED replays
// one). SPILLWAY_FAULTS=20 visits every fault at 20 points of each operation, SPILLWAY_FAULTS=all every fault at every
// point: that takes hours.
//
// A whole rollout in stages meets faults of each name of call in each stage, and who dies is started again; the times
// are the shortest that a host file may have, so one takes less than a minute.
package fault
