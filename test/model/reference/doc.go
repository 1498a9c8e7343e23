// SPDX-License-Identifier: Apache-2.0

// Package reference computes fingerprints from the published specifications alone, as the second opinion that the
// dataplane is tested against: JA4 (FoxIO-LLC/ja4, technical_details/JA4.md), JA3, the raw signature of p0f v3 and the
// MuonFP string. It is written to be read beside those pages, not to be fast, and knows nothing of the dataplane.
//
// # What is read, and what is opaque
//
// ParseStream reads a TLS byte stream up to the end of its first handshake message. It checks what JA4 needs: records,
// the handshake header, the five vectors of a ClientHello, every extension's length, and the lists inside
// signature_algorithms, supported_versions and ALPN (of that only the first protocol). Everything else is opaque: a lie
// inside server_name or key_share, or in a later protocol name, changes no JA4. The lists of JA3 are read by JA3.
//
// The verdict on a stream comes with the earliest byte that decides it and never changes with later ones: a prefix is
// ErrIncomplete until it becomes a Hello, ErrNotHello or ErrMalformed for good.
//
// # Where the specifications are silent
//
//   - Two extensions of one type are illegal (RFC 8446, section 4.2). Both are counted and listed. Of their contents,
//     as in FoxIO's Rust code: the algorithms of the first 000d, the first protocol of all 0010, the versions of all
//     002b.
//   - 002b without any value but GREASE is as if absent: the version is that of the ClientHello (so FoxIO's Wireshark
//     plugin; its Rust and Python code fail).
//   - 002b with 0000 alone is version 0000, which has no name: 00.
//   - GREASE among ALPN's names (RFC 8701 section 2) is looked past, as the specification's "ignore GREASE values
//     anywhere" says; FoxIO's code and s2n-tls take the first name whatever it is. Behind 16, as many as there are, a
//     name counts.
//   - The format of SSL 2.0 is read as the same hello of today would be: its version, the specs that begin with 00, no
//     extensions. It may stand behind what servers step over, but not behind a part of a message.
//   - 000d, 0010 and 002b without any data have no values. With data, their list must fill them exactly.
//   - Empty lists of cipher suites and compression methods are read, though TLS forbids them: JA4 names a value for the
//     former. An odd list of 16-bit values and bytes after the extensions are malformed. A session id may have more
//     than the 32 bytes that TLS allows: Go's servers take any.
//   - A legacy version that looks like GREASE is an unknown version, 00: nothing is dropped there.
package reference
