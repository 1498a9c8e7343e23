// SPDX-License-Identifier: Apache-2.0

// Package rights says what the agent may do, and as whom: the one list that the unit, `spillway doctor`, the README and
// the tests are held against.
//
// The agent is a user of its own with three capabilities. It owns two folders of files (state, socket), and one of pins
// on a BPF file system, which only root can make: `spillway prepare`, which the unit runs with full rights before the
// agent. Whatever root does in these folders leaves them to their owner, so that a host on which somebody worked as
// root goes on under the unit's rights.
package rights
