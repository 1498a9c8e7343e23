// SPDX-License-Identifier: Apache-2.0

// Package rollout replays rollouts on the real dataplane. The engine, the rooms of stages and releases, and the
// visitors are the same twice: once on the kernel of the simulations (userspace/release/releasetest), once on real
// programs and maps, whose frames come by BPF_PROG_TEST_RUN with real sockets behind them. After each look both must
// have seen the same: what each visit got, votes, blame and arms, the control word, trips, what was decided, and the
// record.
//
// Time is the test's. The kernel's own clock cannot be moved, so the real lease is an hour or long over as the test's
// clock says, and each look is a window of the budget of its own: what the last one counted is moved into the window
// before. Not compared is what only the kernel's clock shows: at which moment a lease or a window ends (test/dataplane/
// progrun has both), votes of another day, and times. Not compared either are slots, and epochs of the control word.
package rollout
