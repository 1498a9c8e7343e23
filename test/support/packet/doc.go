// SPDX-License-Identifier: Apache-2.0

// Package packet builds Ethernet frames for tests: VLAN tags, IPv4 and IPv6, options and extension headers, fragments,
// TCP and UDP.
//
// A Frame is a value. What is left out is computed: lengths, checksums and the numbers that name the next header are
// right by default. What is set is written as it stands, so a test takes a valid frame and bends one field of it.
//
// Nothing here knows the dataplane or the configuration: MuonFP reads a SYN on its own, as a second opinion on what the
// dataplane reads.
package packet
