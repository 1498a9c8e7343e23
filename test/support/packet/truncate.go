// SPDX-License-Identifier: Apache-2.0

package packet

import "iter"

// Truncations yields the frame cut to every length from least to its whole length, with the length. Each cut is a slice
// of its own, so that a program that writes to it harms no other.
func Truncations(frame []byte, least int) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for n := least; n <= len(frame); n++ {
			if !yield(n, append([]byte(nil), frame[:n]...)) {
				return
			}
		}
	}
}
