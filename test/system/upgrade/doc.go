// SPDX-License-Identifier: Apache-2.0

// Package upgrade proves that one build takes over from another under traffic: binaries of different layouts of the
// maps run one after the other on one edge, and are killed at their calls of bpf(2). No visitor may notice, and no
// moment may be unprotected.
package upgrade
