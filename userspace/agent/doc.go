// SPDX-License-Identifier: Apache-2.0

// Package agent is the process beside the kernel: it puts bundles into the dataplane, watches that the dataplane stays
// wired, and answers on the API's socket.
//
// The kernel comes first. What it enforces goes on when the agent starts, stops or dies, and where the agent's records
// and the kernel differ, the kernel is right. An agent that cannot load or attach does not exit: the site is served
// unprotected, status and metrics say so, and the agent tries again. An agent that stops never detaches.
//
// One goroutine ticks once a second and does what time asks for: repairs, ends of confirmations and bakes, expired
// bans, and systemd's watchdog. What takes longer than a moment is a job of one worker beside it (what the site needs)
// or of another (what it does not: names of rules, comparison of rows). One locked thread, which shares no lock with
// anything, renews the heartbeat and the candidate's lease. Changes come one at a time, through the API; a bypass, a
// ban and a rollback wait for none of them.
package agent
