// SPDX-License-Identifier: Apache-2.0

// Package loader puts generations into the kernel and takes them back.
//
// A bundle becomes an Image, a pure value. Build writes the image into a spare slot: new inner maps are filled aside,
// read back, compared row by row, frozen, and only then put where the dataplane can find them. Publish points the
// control word at the slot with one compare-and-swap; Rollback points it back. Nothing that traffic uses is ever
// edited.
//
// All state is pinned, so it survives the process: below root what every build reads, and below a folder that carries
// the ABI's number the rest. Open adopts what it finds, and no start or stop attaches, detaches or replaces anything
// that already serves; where another layout decides, TakeOver is one store. Only loader and its rooms import ebpf/link.
package loader
