// SPDX-License-Identifier: Apache-2.0

// Package bans blocks single addresses and prefixes for a time. The kernel's maps are right while they live; the record
// of bans follows them, and fills maps that never had one. Its lock is held for one ban; below it are only those of the
// ledger.
package bans
