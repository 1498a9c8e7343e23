// SPDX-License-Identifier: Apache-2.0

// Package releasetest has a kernel part, a lease and a state folder in memory, for simulations of those who roll out.
// Kernel holds to what docs/ROLLOUT.md says of the kernel, and was written from that; test/dataplane/rollout replays
// rollouts on it and on the real dataplane and compares them after each look.
package releasetest
