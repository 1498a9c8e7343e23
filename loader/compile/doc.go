// SPDX-License-Identifier: Apache-2.0

// Package compile turns a bundle and a host file into what the kernel's maps will hold: pure values, made without a
// kernel.
//
// An Image is a bundle for one host, a HostImage a host file. Both are tables, which write themselves into any map and
// compare themselves with any, and know nothing of pins or slots: that is package loader's.
//
// A kind of feature is a row of kinds and a file: its map's keys, their order and their text, and how a bundle's
// features become rows.
package compile
