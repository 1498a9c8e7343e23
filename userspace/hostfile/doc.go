// SPDX-License-Identifier: Apache-2.0

// Package hostfile knows the host file as a file: its text, its digest, whether what lies on disk is what is in force,
// and what the next one can newly block, cannot change, or has no room for. The agent asks at every look, and so does
// the command without one: somebody who edited the file and did not reload it must not believe that it counts.
package hostfile
