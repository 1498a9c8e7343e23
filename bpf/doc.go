// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

// Package bpf holds the dataplane in C and the Go bindings that bpf2go writes beside it.
//
// root.c has the root program, which never changes, and xdp.c the entry points behind it; every concern has a header.
// types.h, with fingerprint.h and host.h, is the contract with user space: bpf2go turns its types into Go types, and
// names.go gives the enums their names, the same in metrics, events and documents. abi.txt holds digests of what other
// builds read.
package bpf
