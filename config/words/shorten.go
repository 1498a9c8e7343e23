// SPDX-License-Identifier: Apache-2.0

package words

import (
	"unicode"
	"unicode/utf8"
)

const valueWidth = 60

// Shorten makes a value fit to print: one line, no control characters, not long.
func Shorten(value string) string {
	runes := make([]rune, 0, min(len(value), valueWidth+1))
	for _, r := range value {
		if len(runes) == valueWidth {
			runes = append(runes, '…')
			break
		}
		runes = append(runes, Visible(r))
	}
	return string(runes)
}

func Visible(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case r == utf8.RuneError || !unicode.IsPrint(r):
		return '·'
	}
	return r
}
