// SPDX-License-Identifier: Apache-2.0

package main

// nearest returns the candidate that a typo most likely meant, or "" when none is close: at most two letters away, and
// less than half of the word.
func nearest(word string, candidates []string) string {
	best, found := 3, ""
	for _, c := range candidates {
		if d := distance(word, c); d < best && 2*d < len(c)+1 {
			best, found = d, c
		}
	}
	return found
}

// distance is Levenshtein's: how many letters must be put in, left out or changed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		above := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := above
			if a[i] != b[j] {
				change++
			}
			above = row[j+1]
			row[j+1] = min(change, above+1, row[j]+1)
		}
	}
	return row[len(b)]
}
