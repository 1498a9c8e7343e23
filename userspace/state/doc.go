// SPDX-License-Identifier: Apache-2.0

// Package state keeps what the kernel forgets at a reboot: bundles by digest, which of them is last-known-good, bans,
// and the history of changes.
//
// Nothing here is needed for traffic, and nothing here can stop it. Every file is written beside its place, synced and
// renamed; every file carries a checksum. What was changed or cut off is noticed when it is read, moved aside and said
// loudly, and the caller goes on without it: the kernel's own state wins over state.json, and a bundle that does not
// have its digest is not available.
package state
