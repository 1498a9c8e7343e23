// SPDX-License-Identifier: Apache-2.0

// Package release brings bundles into force and back: it parses, holds, compiles, builds, publishes, confirms, bakes,
// and makes record and kernel agree.
//
//	asked ─▶ queued ─▶ building ─▶ candidate ─▶ stable ─▶ bakes ─▶ last-known-good
//	            │         │            │           │
//	            ▼         ▼            ▼           ▼
//	        withdrawn  refused     withdrawn   previous, or quarantined by a rollback
//	                   held        held (its lease lapsed), or quarantined (nobody confirmed)
//
// What holds at each moment: the word names filled slots; a generation is in a slot before the word names it; a
// candidate is in the record before the word names it. After Settle the record has what the word names. What was
// quarantined comes back only with a reason.
//
// Its parts, each a type in a file of its noun:
//
//	rollouts    what was asked for, and what became of it      queue       whose turn it is (carrier: who carries it out)
//	reader      uploads, plans                                 guard       what a person must accept
//	builder     compiles and builds aside                      candidates  lease, deadline; confirm, expire, hold, end
//	applier     the moment of an apply                         backs       the ways back
//	hosts       host files, with the bundles built for them    modes       may this host block?
//	bake        how stable becomes last-known-good             clock       a wall clock that is set
//	archive     what was in force and is on disk               settler     record and word agree
//	upgrade     a dataplane of another layout
//
// The order of locks: changing, for as long as something is built and published; swap, while word and record change
// together; that of rollouts; then those of the rooms below. The read lock of the plane is taken before swap and never
// twice by one goroutine (Use): who has the dataplane hands it on. A rollback takes swap alone, so it waits for nothing
// that is built, and what was built meanwhile is not published (publish.go draws that moment).
package release
