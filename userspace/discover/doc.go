// SPDX-License-Identifier: Apache-2.0

// Package discover looks at a running host and proposes what its host file should say: the services that visitors
// reach, and the sources that must never be locked out (the operator's own SSH connection and the default gateway).
//
// Everything is read from a file system that looks like /proc, so a test can show any host. Nothing is changed, nothing
// is sent: a port is never probed. What cannot be read (sockets of other users, without root) is left out; the proposal
// is then shorter, never wrong.
package discover
