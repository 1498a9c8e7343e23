// SPDX-License-Identifier: Apache-2.0

// Package show writes replies for people: what the command line prints when nobody asked for JSON. Every function takes
// a reply and a writer; nothing here asks, waits or reads a clock.
//
// Screens are made for 80 columns. Colour only ever repeats what a word says.
package show
