// SPDX-License-Identifier: Apache-2.0

// Package bypass lets everything, or one service, pass, and ends that. The kernel's words are right; the record follows
// them, and carries a bypass over a reboot. Its lock is held for one switch; below it are only those of the ledger.
package bypass
