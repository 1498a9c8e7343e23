// SPDX-License-Identifier: Apache-2.0

// Package feed reads the address lists that others publish: lines, columns, ranges and JSON become prefixes, row by row
// and in bounded memory. It never guesses: a file that is not what its format says is refused by one Misfit, which
// names what the file is and what to write. Only Probe guesses, for a person who reads the answer.
//
//	file ──Sniff──► first bytes          HTML, gzip, UTF-16, JSON …: a Misfit, the end
//	     ──lines or documents──► place   too long, too many: an error, the end
//	     ──importer──► Row               its prefixes, or why it is bad; what fits no row: a Misfit, the end
//	     ──► Summary                     rows, the last line, the number that the file says of itself
package feed
