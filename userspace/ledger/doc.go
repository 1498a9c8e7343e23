// SPDX-License-Identifier: Apache-2.0

// Package ledger is what is remembered beside the kernel: the record, the history, the names of bundles, and the
// problems that status shows. What the disk refuses is kept in memory and written later; nothing of it stops a change
// that happened.
//
// It is the lowest of the agent's rooms. Its locks are taken last, held for a moment, and no other lock is taken under
// them but those of the state folder: save, then the record's own; those of names and problems alone.
package ledger
