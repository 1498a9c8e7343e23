// SPDX-License-Identifier: Apache-2.0

package words

import "strings"

// List joins words for a sentence: a, b or c.
func List(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	n := len(words) - 1
	return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
}

// Nearest returns the word that a person probably meant, or "".
func Nearest(word string, words []string) string {
	if len(word) > 40 {
		return ""
	}
	best, name := 3, "" // more than two slips is another word
	for _, w := range words {
		if d := distance(word, w); d < best && d < max(len(w), len(word)) {
			best, name = d, w
		}
	}
	return name
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
