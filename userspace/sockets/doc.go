// SPDX-License-Identifier: Apache-2.0

// Package sockets asks the kernel for one TCP socket of this network namespace and closes it, by sock_diag(7). A socket
// is named by its cookie, which no other socket ever has: what is closed is what was looked at, whoever has its
// addresses and ports by then.
package sockets
