// SPDX-License-Identifier: Apache-2.0

// Package state keeps what the kernel forgets at a reboot: bundles by digest, which of them is last-known-good, bans,
// and the history of changes.
//
//	record.json      what is in force, last-known-good, what waits, bypasses       replaced whole
//	quarantine.json  bundles that were rolled back, by name and digest             replaced whole
//	bans.log         one line a ban or its end                                     appended, compacted
//	history.jsonl    one line a change, or an attempt at one                       appended, turned over
//	host.json        the last host file that was in force                          replaced whole
//	stages.json      where the rollouts are that go in stages                      replaced whole
//	bundles/DIGEST   the canonical form of a bundle                                written once
//	lock             held by whoever changes the above
//
// Nothing here is needed for traffic, and nothing here can stop it. A file that is replaced is written beside its
// place, synced and renamed, and carries a checksum; a file that is appended to carries one a line. What was changed or
// cut off is noticed when it is read, moved aside and said loudly, and the caller goes on without it: the kernel's own
// state wins over the record, and a bundle that does not have its digest is not available. What cannot be read now
// (EIO, EACCES, EMFILE) is not damaged: it stays where it is, nothing is written over it, and it is tried again.
//
// Each file has a schema number of its own. A release reads its own schema and the one before; a file of a newer schema
// is left alone. Fields that a release does not know are written back as they were, so that a newer one finds them
// again.
package state
