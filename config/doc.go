// SPDX-License-Identifier: Apache-2.0

// Package config holds everything a person writes: the host file, which says what this host protects and how far any
// bundle may go, and the bundle, which says what a bot looks like and what happens to it.
//
// Parsing is strict. A file either loads whole, or it is refused with all its faults at once, each with file, line,
// column, excerpt, value and what would be valid. There is no partial load, no silent repair and no panic: on
// 18 November 2025 a feature file with duplicate rows, twice its usual size, took a large part of the web with it.
// Whoever receives an error from this package keeps what already runs.
//
// A loaded Bundle is resolved (list files are read), normalised (prefixes masked, ::ffff:a.b.c.d turned into IPv4, rows
// sorted) and validated against the host file. Its identity is the SHA-256 of its canonical form.
//
// A Catalogue is no configuration: it is carried along to put names to fingerprints, and decides nothing.
package config
