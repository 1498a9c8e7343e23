// SPDX-License-Identifier: Apache-2.0

// Package clients lets real programs connect through the dataplane to a real nginx, and compares what the kernel
// says of each connection with what the bytes of that connection say.
//
//	namespace out                                   namespace edge
//	+-----------------------------+        +------------------------------------------+
//	| curl, wget, openssl, Python,|  veth  |                                          |
//	| Node, Go, uTLS, Chromium,   | ====== | XDP → recorder :443 → nginx :8443 (TLS)  |
//	| Firefox; each in a mount    |        |                                          |
//	| and PID namespace of its own|        |  keeps the client's first bytes          |
//	+-----------------------------+        +------------------------------------------+
//
// The out side has no route but to the edge, so whatever a browser would like to fetch or to tell stays inside. Names
// come from a hosts file of the client's own mount namespace: h1.example to h20.example, IPv4 and IPv6 in turn.
package clients
