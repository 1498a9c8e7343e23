// SPDX-License-Identifier: Apache-2.0

// Package kernels runs what must hold on every supported kernel on Debian's 6.1 and 6.12 cloud kernels, under software
// emulation, and counts what their verifiers make of the programs.
//
//	apt-get download ─► vmlinuz, modules, busybox ─┐
//	go test -c ──────► static tests ───────────────┴─► initramfs ─► qemu ─► serial line ─► one table
//
// Nothing but qemu has to be installed, and nothing outside the guest is touched. Downloads are kept in the user's
// cache folder (~/.cache/spillway/kernels). The kernels are those that bpf/instructions.txt names, as long as Debian
// serves them, and the newest of their series otherwise; -update goes on to the newest and writes the file again. The
// guests have no network, no disk and no clock worth trusting: nothing is timed in them.
package kernels
