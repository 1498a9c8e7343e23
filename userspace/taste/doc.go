// SPDX-License-Identifier: Apache-2.0

// Package taste tries a generation in a child process before any packet can meet it.
//
//	agent                                child: same program, `spillway taste`
//	Start ── request (JSON, stdin) ────▶ gives up all rights but CAP_BPF
//	  │                                  reads the stored bundles, compiles, builds the very maps, reads back,
//	  │ wall time, memory, group killed  freezes, pins below PINS/taste/ID, shows golden clients to a second instance
//	  ◀── result (JSON, stdout) ─────────
//	Result.Adopt: type, size, flags, frozen, sums ──▶ a spare slot; PINS/taste/ID goes
//
// Whatever becomes of the child, nothing of it is in force: a slot is filled by the agent alone, from maps that nobody
// can write any more. So the agent neither parses nor compiles a million rows, and a bundle that makes either of them
// crash, hang or grow ends a child. Sweep takes away what a killed agent or child left.
package taste
