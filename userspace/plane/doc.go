// SPDX-License-Identifier: Apache-2.0

// Package plane holds the kernel part: it opens and closes the handle, owns the pins, attaches and watches, keeps the
// heartbeat and the candidate's lease, and compares what the kernel holds with what was built.
//
//	Missing ── the pins are locked, loader.Open ──▶ Install ── Use ⇄ give back ──▶ Close
//
// Links is its part at the interfaces, Rows what its slots hold.
//
// Whoever uses the handle holds its read lock for as long, so it is never closed under them; only Install and Close
// take it alone, and they hold nothing else. The locks of links, images, drift and counts are held for a moment each.
package plane
