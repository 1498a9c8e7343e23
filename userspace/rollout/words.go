// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"strconv"
)

// word finds a text among words and stores its place.
func word(words []string, text []byte, to *uint8) error {
	for i, w := range words {
		if w == string(text) {
			*to = uint8(i)
			return nil
		}
	}
	return fmt.Errorf("%q is none of %q", text, words)
}

// percent writes a share for people: three digits are enough.
func percent(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) }

// many writes a count with its noun.
func many(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func itoa(n int) string { return strconv.Itoa(n) }
