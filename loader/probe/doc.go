// SPDX-License-Identifier: Apache-2.0

// Package probe asks the dataplane's own programs what they make of frames, by a second instance that is attached
// nowhere and shares nothing with the one that serves.
package probe
