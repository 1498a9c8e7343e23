// SPDX-License-Identifier: Apache-2.0

// Package fingerprint says what the connections of a packet capture look like: JA4, JA4_r, stable JA4 and JA3 of the
// ClientHello, MuonFP and p0f v3 signature of the SYN, and who is known to send them.
//
// What the dataplane computes comes from the dataplane: a Kernel, in practice a probe.Probe, is shown the frames of
// each connection. JA3, JA4_r and the reasons are read here, from the bytes that the client sent. The same reading
// stands in for the kernel where that cannot be asked or has no answer, and Connection.By says so.
//
// Memory is bounded, whatever the capture holds: a connection is told as soon as its ClientHello is whole, or cannot
// be, and the one that was silent for longest is told early when too many wait.
package fingerprint
