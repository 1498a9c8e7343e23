// SPDX-License-Identifier: Apache-2.0

// Package pins is the folder below bpffs that keeps the dataplane alive without a process: what lies where in it,
// whose it is, which agent may change it, and which layouts of maps, by ABI number, have a folder of their own in it.
package pins
