// SPDX-License-Identifier: Apache-2.0

// Package release brings bundles into force and back: it parses, holds, compiles, builds, publishes, confirms, bakes, and
// makes record and kernel agree.
//
//	asked ─▶ queued ─▶ building ─▶ candidate ─▶ stable ─▶ bakes ─▶ last-known-good
//	            │         │            │           │
//	            ▼         ▼            ▼           ▼
//	        withdrawn  refused     withdrawn   previous, or quarantined by a rollback
//	                   held        held (its lease lapsed), or quarantined (nobody confirmed)
//
// What holds at each moment: the word names filled slots; a generation is in a slot before the word names it; a candidate is
// in the record before the word names it. After Settle the record has what the word names. What was quarantined comes back
// only with a reason.
//
// The order of locks: change, for as long as something is built and published; swap, while word and record change together;
// that of rollouts; then those of the rooms below. A rollback takes swap alone, so it waits for nothing that is built, and what
// was built meanwhile is not published (mark).
package release
