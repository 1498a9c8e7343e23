// SPDX-License-Identifier: Apache-2.0

// Package capture reads packet captures for tests: pcap and pcapng, the link types that carry IP, what tunnels carry,
// and the two byte streams of a TCP connection. Bytes come out as they were captured, in the order of the file.
package capture
