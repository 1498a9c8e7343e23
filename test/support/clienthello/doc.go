// SPDX-License-Identifier: Apache-2.0

// Package clienthello makes ClientHellos for differential tests, from a seeded source of randomness: Generate
// well-formed ones of every size and order, Lie and Break hostile ones. Then it sends them in all the ways that a
// client may, and some that none should:
//
//	hello := clienthello.Generate(r)                                   // a value; change any field
//	stream := clienthello.Records(hello.Bytes(), clienthello.Cuts(r, n)...) // TLS records
//	segments := clienthello.Segments(stream, clienthello.Cuts(r, len(stream))...) // TCP segments
//	segments = clienthello.Shuffle(r, segments)                        // or Retransmit, Overlap, Contradict
//	frames := connection.Frames(segments)                              // Ethernet
//
// Equal seeds make equal bytes. What a hello means is not decided here: package reference reads the bytes.
package clienthello
