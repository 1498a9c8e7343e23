// SPDX-License-Identifier: Apache-2.0

// Package unit starts the shipped unit by a real systemd: one of its own, first process of namespaces of its own, with
// nothing but this unit to start. What systemd makes of the unit's directives cannot be told from the file: it makes
// binds for ExecStartPre=+, too, and a unit that every other test takes for good did not start.
package unit
