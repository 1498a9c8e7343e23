// SPDX-License-Identifier: Apache-2.0

// Package events keeps the last decisions that the kernel told of, in words that people read, and hands new ones to
// readers. Nothing waits for a reader: one that is too slow loses events, and the gap in their sequence tells it so.
// Its one lock is taken alone.
package events
