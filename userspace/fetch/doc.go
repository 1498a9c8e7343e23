// SPDX-License-Identifier: Apache-2.0

// Package fetch gets the beginning of a file from a server that nobody trusts. It asks public addresses only, whatever
// names and redirects say, and has a bound for each way in which a server can be slow, large or without an end.
package fetch
