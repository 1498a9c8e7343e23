// SPDX-License-Identifier: Apache-2.0

// Package offline does what must work when no agent answers: it reads the pinned maps, turns the bypass on and off,
// rolls back, checks the wiring and detaches. The kernel needs no agent for any of it, so neither does a person at
// three in the morning.
//
// Changes take the lock of the state folder, so that they cannot meet those of an agent, and leave a line in the
// history and in the record, so that a reboot brings back what was meant. The bypass alone goes through without either:
// it is one store to a word of its own, and it must work when the agent hangs or the disk is full. The agent adopts
// whatever it finds at its next start: the control word wins.
package offline
