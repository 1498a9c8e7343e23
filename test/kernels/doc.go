// SPDX-License-Identifier: Apache-2.0

// Package kernels runs what must hold on every supported kernel on Debian's 6.1 and 6.12 cloud kernels, under software
// emulation, and counts what their verifiers make of the programs.
//
//	apt-get download ─► vmlinuz, veth.ko ─┐
//	go test -c ──────► static tests ──────┼─► initramfs ─► qemu ─► serial line ─► one table
//	busybox-static ──► shell ─────────────┘
//
// Nothing is installed, and nothing outside the guest is touched. Downloads are kept in .cache/kernels. The guests have
// no network, no disk and no clock worth trusting: nothing is timed in them.
package kernels
