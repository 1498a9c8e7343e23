// SPDX-License-Identifier: Apache-2.0

// Package doctor tells whether Spillway can run on a host, and on which interfaces, before it touches them. Each fault
// carries its fix.
//
// Collect gathers facts and changes nothing; Check is a pure function from facts to findings, so every row can be
// tested without the hardware it is about. What cannot be told (an unknown driver, an unreadable table) is said to be
// unknown and is never a fault.
package doctor
