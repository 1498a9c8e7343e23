// SPDX-License-Identifier: Apache-2.0

// Package inject fails a process at the Nth system call of a kind.
//
// The process runs under a seccomp filter that asks a listener about each call (SECCOMP_RET_USER_NOTIF), so calls are
// counted over all its threads, in the order in which the kernel got them. strace counts by thread, and a Go program
// wanders between threads: with it, the first call of a second thread could never be killed by itself.
package inject
