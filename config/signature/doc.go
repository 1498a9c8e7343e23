// SPDX-License-Identifier: Apache-2.0

// Package signature holds what a bundle can match of a client: MuonFP and p0f of its SYN, JA4 of its ClientHello. Each
// is a type that is read from its text and printed as it; what no client can send is refused, because it would never
// match.
package signature
