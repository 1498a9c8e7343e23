// SPDX-License-Identifier: Apache-2.0

// Package view says what the state of the kernel means: who is protected, what passes, and what of it is not known. The
// agent and the command line without one both ask it, so that they never tell two stories.
//
//	Kernel, Network ── Read ──▶ Reading ── Judge ──▶ State, one sentence, problems
//
// Read looks; Judge is a function of what was read, and tests call it without a kernel. Three rules hold in it. What
// netlink says of an interface counts, and neither a pin nor a link: those may name something that no packet meets.
// What cannot be read is unknown and says why; it never passes. And "everything passes" is said only of what was just
// read.
package view
