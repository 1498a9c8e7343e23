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
	return nearest(word, words, func(w string) int { return max(len(w), len(word)) })
}

// NearestName is Nearest for names that somebody gave, where a wrong guess is another name that there is: less than
// half of the name may differ.
func NearestName(word string, names []string) string {
	return nearest(word, names, func(w string) int { return (len(w) + 2) / 2 })
}

// nearest returns the word with the fewest slips; below is how many there must be less than.
func nearest(word string, words []string, below func(string) int) string {
	if len(word) > 40 {
		return ""
	}
	best, name := 3, "" // more than two slips is another word
	for _, w := range words {
		if d := distance(word, w); d < best && d < below(w) {
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
